package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"xdpban/internal/ban"
	"xdpban/internal/control"
	"xdpban/jails"
)

// What operators ask for is read and checked off the loop, and done on it a batch at a
// time, so that what is found in logs gets in between.

// rules are what bans have to heed. Nobody changes them: others take their place.
type rules struct {
	config  *jails.Config
	allowed *ban.Set
	batch   int             // how many bans change in one turn
	arrange func(*ban.List) // as the account has them, each once
}

func (d *Daemon) rules() rules {
	return rules{d.config, d.allowed, d.enforcer.Batch(), d.bans.Arrange}
}

// rulesNow asks the loop for the rules.
func (d *Daemon) rulesNow(ctx context.Context) (rules, error) {
	return ask(ctx, d, func() (rules, error) { return d.rules(), nil })
}

// A plan is bans by hand that have been checked, and how far they have been made.
type plan struct {
	rules
	spare    []netip.Addr
	force    bool
	template ban.Ban   // without its prefix
	sources  *ban.List // prefixes, in the order of the account, but for a few

	next    []ban.Ban             // room for a batch
	done    int                   // of sources
	fresh   int                   // of those, that had no ban
	renewed *ban.Account          // the others, as they were; nil: none
	kept    map[netip.Prefix]bool // of those done, whom somebody else has banned by hand since
}

// prefix is source i.
func (p *plan) prefix(i int) netip.Prefix {
	prefix, _ := p.sources.At(i)
	return prefix
}

// banByHand does what an operator asks for, all of it or nothing.
func (d *Daemon) banByHand(ctx context.Context, request control.BanRequest) (control.BanReply, error) {
	r, err := d.rulesNow(ctx)
	if err != nil {
		return control.BanReply{}, err
	}
	p, reply, err := r.plan(request, time.Now())
	if err != nil {
		return reply, err
	}
	if p.sources.Len() > p.batch {
		d.lists.Lock() // else one could take back what another has made
		defer d.lists.Unlock()
		defer d.swollen.Store(true)
		if err := d.turn(ctx, func() error { d.list = p; return nil }); err != nil {
			return reply, err
		}
		defer d.turn(context.Background(), func() error { d.list = nil; return nil }) //nolint:errcheck // it has none
	}
	for p.done < p.sources.Len() && err == nil {
		err = d.turn(ctx, func() error { return d.begin(p) })
	}
	if err != nil {
		return reply, errors.Join(err, d.takeBack(p))
	}
	return reply, nil
}

// begin makes the next batch of p's bans, and tells of all after the last.
func (d *Daemon) begin(p *plan) error {
	p.next = p.next[:0]
	fresh, end := 0, min(p.done+p.batch, p.sources.Len())
	for i := p.done; i < end; i++ {
		prefix := p.prefix(i)
		if d.allowed != p.allowed { // the host has changed since
			if err := d.rules().permit(p, prefix); err != nil {
				return err
			}
		}
		p.next = append(p.next, p.template)
		p.next[len(p.next)-1].Prefix = prefix
		before, again := d.bans.Get(prefix)
		if !again {
			fresh++
			continue
		}
		if d.list != nil && d.list != p {
			d.list.keep(prefix)
		}
		if p.renewed == nil {
			p.renewed = ban.NewAccount()
		}
		p.renewed.Put(before)
	}
	if err := d.enforcer.Ban(p.next...); err != nil {
		return err
	}
	p.done = end
	p.fresh += fresh
	if p.done == p.sources.Len() {
		d.reportPlan(p)
	}
	return nil
}

// keep notes that somebody else wants prefix banned too.
func (p *plan) keep(prefix netip.Prefix) {
	if p.kept == nil {
		p.kept = make(map[netip.Prefix]bool)
	}
	p.kept[prefix] = true
}

// takeBack undoes what was done of p. The client may have gone: that changes nothing.
func (d *Daemon) takeBack(p *plan) error {
	ctx := context.Background()
	for p.done > 0 {
		if err := d.turn(ctx, func() error { return d.takeBackSome(p) }); err != nil {
			return fmt.Errorf("take back what was done: %w", err)
		}
	}
	if p.renewed == nil {
		return nil
	}
	for before := range slices.Chunk(slices.Collect(p.renewed.All), p.batch) {
		if err := d.turn(ctx, func() error { return d.enforcer.Restore(before...) }); err != nil {
			return fmt.Errorf("take back what was done: %w", err)
		}
	}
	return nil
}

// takeBackSome ends the last batch of those of p's bans that were new. What others have
// done to one of them since stays.
func (d *Daemon) takeBackSome(p *plan) error {
	begin := max(0, p.done-p.batch)
	var begun []netip.Prefix
	for i := begin; i < p.done; i++ {
		prefix := p.prefix(i)
		b, there := d.bans.Get(prefix)
		if there && !p.kept[prefix] && b.Jail == p.template.Jail && b.Reason == p.template.Reason && (p.renewed == nil || !p.renewed.Has(prefix)) {
			begun = append(begun, prefix)
		}
	}
	if _, err := d.enforcer.Unban(begun...); err != nil {
		return err
	}
	p.done = begin
	return nil
}

// reportPlan counts and logs bans by hand.
func (d *Daemon) reportPlan(p *plan) {
	d.banned[p.template.Jail] += uint64(p.fresh)
	if n := p.sources.Len(); n > manyBans {
		d.log.Info("banned", "sources", n, "jail", p.template.Jail, "reason", p.template.Reason)
		return
	}
	bans := slices.Repeat([]ban.Ban{p.template}, p.sources.Len())
	for i := range bans {
		bans[i].Prefix = p.prefix(i)
	}
	d.report(bans)
}

// plan checks what an operator asks for, all of it before any of it is done.
func (r rules) plan(request control.BanRequest, now time.Time) (*plan, control.BanReply, error) {
	reply := control.BanReply{Banned: []netip.Prefix{}, Spared: []control.Allowed{}}
	if err := bounded(request); err != nil {
		return nil, reply, err
	}
	length, template, err := r.template(request, now)
	if err != nil {
		return nil, reply, err
	}
	reply.Until = now.Add(length)
	list, err := r.listed(request.Prefixes, request.Addresses, request.List, request.Name)
	if err != nil {
		return nil, reply, err
	}
	if list.Len() == 0 {
		return nil, reply, errNoAddress
	}
	p := &plan{rules: r, spare: request.Spare, force: request.Force, template: template, sources: list}
	wide := false // some of them
	for i := range list.Len() {
		prefix, address := list.At(i)
		if address {
			prefix = r.target(prefix.Addr())
		}
		if err := r.permit(p, prefix); err != nil {
			return nil, reply, err
		}
		list.Replace(i, prefix)
		wide = wide || !prefix.IsSingleIP()
	}
	r.once(list)
	if wide && !p.force {
		reply.Spared = append(reply.Spared, r.spared(p)...)
	}
	if reply.Count = list.Len(); reply.Count <= control.Named {
		for i := range reply.Count {
			reply.Banned = append(reply.Banned, p.prefix(i))
		}
	}
	return p, reply, nil
}

// bounded refuses what nobody needs and what every ban would have to bear.
func bounded(request control.BanRequest) error {
	const longest, most = 1000, 100
	if n := len(request.Reason); n > longest {
		return &control.Error{Kind: control.Usage, Text: fmt.Sprintf("the reason has %d bytes, more than %d", n, longest)}
	}
	if n := len(request.Spare); n > most {
		return &control.Error{Kind: control.Usage, Text: fmt.Sprintf("%d addresses to spare are more than %d", n, most)}
	}
	return nil
}

// once leaves of what comes twice in list one, and its order if they are few.
func (r rules) once(list *ban.List) {
	if list.Len() > control.Named {
		r.arrange(list)
	} else {
		list.Once()
	}
}

// spared is what the allow list holds inside p's sources.
func (r rules) spared(p *plan) []control.Allowed {
	var spared []control.Allowed
	for i := range p.sources.Len() {
		prefix := p.prefix(i)
		if prefix.IsSingleIP() {
			continue
		}
		for _, inside := range r.allowed.Within(prefix) {
			_, origin, _ := r.allowed.Covering(inside)
			spared = append(spared, control.Allowed{Prefix: inside, Origin: origin})
		}
	}
	return spared
}

// errNoAddress says that a request, or an entry of it, is empty.
var errNoAddress = &control.Error{Kind: control.Usage, Text: "an address or a prefix is missing"}

// target is what to ban for addr: its prefix, or the address alone where the prefix holds
// an allowed address.
func (r rules) target(addr netip.Addr) netip.Prefix {
	prefix := ban.Of(addr, r.config.IPv6Prefix)
	if !prefix.IsSingleIP() && len(r.allowed.Within(prefix)) > 0 {
		return ban.Single(addr)
	}
	return prefix
}

// listAtMost is how many entries a list may have. Some of more than there is room for may be
// neighbours, or the same.
func (r rules) listAtMost() int {
	return max(1<<20, 4*int(r.config.MaxBans+r.config.MaxPrefixes))
}

// listed is all that a request names, text is more of it, one a line.
func (r rules) listed(prefixes []netip.Prefix, addresses []netip.Addr, text io.Reader, name string) (*ban.List, error) {
	list := new(ban.List)
	for _, prefix := range prefixes {
		prefix, err := canonical(prefix)
		if err != nil {
			return nil, err
		}
		list.AddPrefix(prefix)
	}
	for _, addr := range addresses {
		if !addr.IsValid() {
			return nil, errNoAddress
		}
		list.AddAddr(addr)
	}
	if text == nil {
		return list, nil
	}
	mistakes, err := list.Read(name, text, r.listAtMost())
	if err != nil {
		err = fmt.Errorf("read the list %s: %w", name, err)
	} else {
		err = mistakes.Err()
	}
	if err != nil {
		return nil, &control.Error{Kind: control.Usage, Text: err.Error()}
	}
	return list, nil
}

// canonical is prefix as bans have it, masked and IPv4 never in its mapped form, whatever
// the client sent.
func canonical(prefix netip.Prefix) (netip.Prefix, error) {
	if !prefix.IsValid() {
		return netip.Prefix{}, errNoAddress
	}
	if !prefix.Addr().Is4In6() {
		return prefix.Masked(), nil
	}
	same, err := ban.ParsePrefix(prefix.String())
	if err != nil {
		return netip.Prefix{}, &control.Error{Kind: control.Usage, Text: err.Error()}
	}
	return same, nil
}

// template is the ban that request makes, without its prefix, and how long it lasts.
func (r rules) template(request control.BanRequest, now time.Time) (time.Duration, ban.Ban, error) {
	times, ok := r.config.Defaults, true
	jail := ban.ByHand
	if request.Jail != "" {
		jail = request.Jail
		times, ok = r.config.Jail(jail)
	}
	if !ok {
		return 0, ban.Ban{}, &control.Error{Kind: control.Usage, Text: fmt.Sprintf("there is no jail %q", request.Jail), Hint: "xdpban status lists them"}
	}
	length := times.BanTime
	if request.Seconds < 0 || request.Seconds > int64(jails.MaxTime/time.Second) {
		return 0, ban.Ban{}, &control.Error{Kind: control.Usage, Text: fmt.Sprintf("cannot ban for %d seconds", request.Seconds)}
	}
	if request.Seconds > 0 {
		length = time.Duration(request.Seconds) * time.Second
	}
	b := ban.Ban{Jail: jail, Reason: request.Reason, Since: now, End: now.Add(length), Quiet: times.QuietTime, Hand: true, Forced: request.Force}
	if times.MaxBanTime > 0 {
		b.Limit = now.Add(max(times.MaxBanTime, length))
	}
	return length, b, nil
}

// everybody is the shortest prefix that an operator may ban without force.
const (
	everybodyV4 = 8
	everybodyV6 = 16
)

// permit refuses what would lock out the operator or the host itself.
func (r rules) permit(p *plan, prefix netip.Prefix) error {
	const hint = "--force bans it all the same"
	if p.force {
		return nil
	}
	if allowed, origin, ok := r.allowed.Covering(prefix); ok {
		return &control.Error{Kind: control.Usage, Text: fmt.Sprintf("%s is never banned: %s (%s)", shown(prefix), shown(allowed), origin), Hint: hint}
	}
	for _, addr := range p.spare {
		if prefix.Contains(addr.Unmap()) {
			return &control.Error{Kind: control.Usage, Text: fmt.Sprintf("%s is where you are logged in from (%s)", shown(prefix), addr), Hint: hint}
		}
	}
	if shortest := everybody(prefix); prefix.Bits() < shortest {
		return &control.Error{Kind: control.Usage, Text: fmt.Sprintf("%s is too much of the internet (wider than /%d)", prefix, shortest), Hint: hint}
	}
	return nil
}

func everybody(prefix netip.Prefix) int {
	if prefix.Addr().Is4() {
		return everybodyV4
	}
	return everybodyV6
}

// unbanByHand ends the bans that request names and says which of them had none.
func (d *Daemon) unbanByHand(ctx context.Context, request control.UnbanRequest) (control.UnbanReply, error) {
	reply := control.UnbanReply{Unbanned: []netip.Prefix{}, Absent: []control.Absent{}}
	r, err := d.rulesNow(ctx)
	if err != nil {
		return reply, err
	}
	if request.All {
		err = d.unbanAll(ctx, r, &reply)
	} else {
		err = d.unbanListed(ctx, r, request, &reply)
	}
	if err != nil {
		return reply, err
	}
	err = d.turn(context.WithoutCancel(ctx), func() error { d.reportUnbanned(reply.Unbanned, reply.Count, "by hand"); return nil })
	if reply.Count > control.Named {
		reply.Unbanned = []netip.Prefix{}
		d.swollen.Store(true)
	}
	return reply, err
}

// unbanAll ends every ban that there is when it begins, and some that come meanwhile. It walks
// through the account a few pages a turn, and keeps no list.
func (d *Daemon) unbanAll(ctx context.Context, r rules, reply *control.UnbanReply) error {
	if err := d.turn(ctx, func() error { clear(d.refused); return nil }); err != nil {
		return err
	}
	some := make([]netip.Prefix, 0, r.batch)
	for page := 0; page < d.bans.Pages(); {
		err := d.turn(ctx, func() error {
			some = some[:0]
			for ; page < d.bans.Pages() && len(some) < r.batch; page++ {
				for b := range d.bans.Page(page) {
					some = append(some, b.Prefix)
				}
			}
			return d.unban(some)
		})
		if err != nil {
			return err
		}
		reply.Count += len(some)
		reply.Unbanned = append(reply.Unbanned, some[:min(len(some), control.Named-len(reply.Unbanned))]...)
	}
	slices.SortFunc(reply.Unbanned, ban.Compare)
	return nil
}

// unbanListed ends the bans of whom request names, one by one.
func (d *Daemon) unbanListed(ctx context.Context, r rules, request control.UnbanRequest, reply *control.UnbanReply) error {
	list, err := r.listed(request.Prefixes, request.Addresses, request.List, request.Name)
	if err != nil {
		return err
	}
	if err := d.pickListed(ctx, reply, list); err != nil {
		return err
	}
	reply.Unbanned = r.each(reply.Unbanned) // neighbours have one ban
	for some := range slices.Chunk(reply.Unbanned, r.batch) {
		if err := d.turn(ctx, func() error { return d.unban(some) }); err != nil {
			return err
		}
	}
	reply.Count = len(reply.Unbanned)
	return nil
}

// each is each of prefixes once: a few in order, many in that of the account.
func (r rules) each(prefixes []netip.Prefix) []netip.Prefix {
	if len(prefixes) <= control.Named {
		slices.SortFunc(prefixes, ban.Compare)
		return slices.Compact(prefixes)
	}
	list := new(ban.List)
	for _, prefix := range prefixes {
		list.AddPrefix(prefix)
	}
	r.arrange(list)
	for i := range list.Len() {
		prefixes[i], _ = list.At(i)
	}
	return prefixes[:list.Len()]
}

// pickListed picks what list names.
func (d *Daemon) pickListed(ctx context.Context, reply *control.UnbanReply, list *ban.List) error {
	for from := 0; from < list.Len(); from += batch {
		var part control.UnbanReply // reply grows off the loop
		err := d.turn(ctx, func() error {
			for i := from; i < min(from+batch, list.Len()); i++ {
				prefix, address := list.At(i)
				if address {
					d.pick(&part, prefix, prefix, ban.Of(prefix.Addr(), d.config.IPv6Prefix))
				} else {
					d.pick(&part, prefix, prefix)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		reply.Unbanned = append(reply.Unbanned, part.Unbanned...)
		reply.Absent = append(reply.Absent, part.Absent[:min(len(part.Absent), max(0, control.Named-len(reply.Absent)))]...)
		reply.Absents += part.Absents
	}
	return nil
}

// pick adds the first of candidates that is banned to what is unbanned. Failures counted
// for it are forgotten in any case.
func (d *Daemon) pick(reply *control.UnbanReply, asked netip.Prefix, candidates ...netip.Prefix) {
	for _, prefix := range candidates {
		if d.bans.Has(prefix) {
			reply.Unbanned = append(reply.Unbanned, prefix)
			return
		}
		delete(d.refused, prefix)
		d.jails.Forget(prefix)
	}
	reply.Absents++
	absent := control.Absent{Prefix: asked}
	for bits := asked.Bits() - 1; bits >= 0 && !absent.Covered.IsValid(); bits-- {
		wider := netip.PrefixFrom(asked.Addr(), bits).Masked()
		if d.bans.Has(wider) {
			absent.Covered = wider
		}
	}
	reply.Absent = append(reply.Absent, absent)
}
