package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"time"

	"xdpban/fallback"
	"xdpban/internal/ban"
	"xdpban/internal/control"
	"xdpban/internal/lock"
	"xdpban/jails"
	"xdpban/loader"
)

// A ladder enforces by XDP where that can be, and by iptables where it cannot. Once an
// interface needs iptables every ban is in both, and a ban that packets prolong in one is
// prolonged in the other.
type ladder struct {
	config *jails.Config
	log    *slog.Logger

	xdp     *loader.Loader
	noXDP   error // why xdp is nil
	chain   *fallback.Chain
	held    *fallback.Holding // of chain; nil where it cannot be locked
	noChain error             // why chain is nil though it was needed
	guarded map[string]attachment
	allowed *ban.Set
	account *ban.Account // that of XDP, where there is XDP

	unheld     netip.Prefix // a ban of XDP that the chain cannot hold, the last one found; zero: none
	chainErr   error        // of the last change to the chain that XDP took
	chainFails uint64       // how many there were
}

// open takes over what an earlier daemon left in force, of either kind.
func (l *ladder) open() error {
	if l.config.Enforce != jails.IPTables {
		if err := l.openXDP(); err != nil {
			return err
		}
	}
	if l.config.Enforce == jails.XDP && l.xdp == nil {
		return fmt.Errorf("%w: %w", ErrNowhere, l.noXDP)
	}
	if l.xdp == nil || fallback.Present() {
		err := l.openChain()
		if errors.Is(err, lock.ErrHeld) && l.xdp == nil {
			return err
		}
		if err != nil && l.xdp == nil {
			return fmt.Errorf("%w: %w", ErrNowhere, errors.Join(l.noXDP, err))
		}
	}
	return l.merge()
}

// openXDP takes XDP if the kernel lets it. The error is that there are bans of an earlier
// daemon which the kernel drops by, and that it does not let us tend.
func (l *ladder) openXDP() error {
	x, err := loader.Open(loader.Settings{
		Pin: l.config.Pin, IPv6Prefix: l.config.IPv6Prefix, Log: l.log,
		MaxBans: l.config.MaxBans, MaxPrefixes: l.config.MaxPrefixes, MaxAllowed: l.config.MaxAllowed,
	})
	if err != nil {
		l.noXDP = fmt.Errorf("xdp: %w", err)
		if left, _ := loader.Present(l.config.Pin); left {
			return fmt.Errorf("take over what drops packets at %s: %w", l.config.Pin, err)
		}
		l.log.Warn("no XDP on this host", "error", err)
		return nil
	}
	l.xdp = x
	return nil
}

// openChain makes the chain, with the bans and the allow list that XDP has.
func (l *ladder) openChain() error {
	held, err := fallback.Hold()
	if errors.Is(err, lock.ErrHeld) {
		l.noChain = err
		return err
	}
	if err != nil {
		l.log.Warn("nothing keeps a second daemon from the chain", "error", err)
	}
	c, err := fallback.Open(fallback.Settings{
		IPv6Prefix: l.config.IPv6Prefix, MaxBans: l.config.MaxBans, MaxPrefixes: l.config.MaxPrefixes, MaxAllowed: l.config.MaxAllowed,
		Quiet: l.config.Defaults.QuietTime, Forward: l.config.Forward, Quietly: !l.config.LogBack, Log: l.log,
	})
	l.noChain = err
	if err != nil {
		return errors.Join(err, held.Close())
	}
	l.chain, l.held = c, held
	return l.chain.Allow(l.allowed)
}

// merge brings the bans of each into the other. What runs against the configuration is
// taken out of the kernel: nobody would tend it.
func (l *ladder) merge() error {
	if l.config.Enforce == jails.IPTables {
		if err := l.leaveXDP(); err != nil {
			return err
		}
	}
	if l.xdp != nil {
		l.account = l.xdp.Account()
	} else {
		l.account = ban.NewAccount()
	}
	if l.chain == nil {
		return nil
	}
	records, err := l.chain.Bans()
	if err != nil {
		return err
	}
	if l.xdp == nil {
		for _, r := range records {
			l.account.Put(r.Ban)
		}
		return nil
	}
	if err := l.xdp.Ban(bansOf(records)...); err != nil {
		return err
	}
	return l.fillChain()
}

// fillChain brings the bans of XDP into the chain.
func (l *ladder) fillChain() error {
	records, err := l.xdp.Bans()
	if err != nil {
		return err
	}
	l.noteChain(l.chain.Ban(l.holdable(bansOf(records))...))
	return nil
}

// holdable are those of bans that the chain can hold: one that it cannot keeps no other out of it.
func (l *ladder) holdable(bans []ban.Ban) []ban.Ban {
	can := make([]ban.Ban, 0, len(bans))
	for _, b := range bans {
		if l.chain.Refuses(b.Prefix) != nil {
			l.unheld = b.Prefix
			continue
		}
		can = append(can, b)
	}
	return can
}

// noteChain notes what came of a change to the chain that XDP took.
func (l *ladder) noteChain(err error) {
	l.chainErr = err
	if err != nil {
		l.chainFails++
	}
}

func bansOf(records []ban.Record) []ban.Ban {
	bans := make([]ban.Ban, len(records))
	for i, r := range records {
		bans[i] = r.Ban
	}
	return bans
}

// leaveXDP brings the bans that an earlier daemon enforced by XDP into the chain, and takes
// XDP out.
func (l *ladder) leaveXDP() error {
	if there, err := loader.Present(l.config.Pin); err != nil || !there {
		return err
	}
	if err := l.openXDP(); err != nil || l.xdp == nil {
		return errors.Join(err, l.noXDP)
	}
	records, err := l.xdp.Bans()
	if err == nil {
		err = l.chain.Ban(l.holdable(bansOf(records))...)
	}
	if l.unheld.IsValid() {
		l.log.Warn("a ban ends with XDP", "error", l.chain.Refuses(l.unheld))
	}
	err = errors.Join(err, l.xdp.Close())
	l.xdp = nil
	if err != nil {
		return err
	}
	return loader.Remove(l.config.Pin)
}

// Attach tries XDP first, each time: whatever refused it may have gone.
func (l *ladder) Attach(name string) (attachment, error) {
	refused := l.noXDP
	if l.xdp != nil {
		a, err := l.xdp.Attach(name)
		if err == nil {
			delete(l.guarded, name)
			return byXDP(a), nil
		}
		refused = err
	}
	if l.config.Enforce == jails.XDP {
		return attachment{}, refused
	}
	a, err := l.guard(name, refused)
	if err != nil {
		return attachment{}, errors.Join(refused, err)
	}
	return a, nil
}

func byXDP(a loader.Attachment) attachment {
	return attachment{Interface: a.Interface, Index: a.Index, Mode: a.Mode, Refusals: a.Refusals, Since: a.Since}
}

// guard has iptables enforce on the interface called name, as XDP was refused.
func (l *ladder) guard(name string, refused error) (attachment, error) {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return attachment{}, err
	}
	if l.chain == nil {
		if err := l.openChain(); err != nil {
			return attachment{}, err
		}
		if err := l.fillChain(); err != nil {
			return attachment{}, err
		}
	}
	a, before := l.guarded[name]
	if !before || a.Index != iface.Index {
		a = attachment{Interface: name, Index: iface.Index, Mode: byIPTables, Since: time.Now()}
	}
	a.Refusals = nil
	if refused != nil {
		a.Refusals = append(a.Refusals, refused.Error())
	}
	l.guarded[name] = a
	return a, nil
}

// Attachments are the interfaces that run the kernel program. Those that iptables guarded
// are found by Attach.
func (l *ladder) Attachments() ([]attachment, error) {
	if l.xdp == nil {
		return nil, nil
	}
	list, err := l.xdp.Attachments()
	all := make([]attachment, len(list))
	for i, a := range list {
		all[i] = byXDP(a)
	}
	return all, err
}

// Detach ends enforcement on the interface called name.
func (l *ladder) Detach(name string) error {
	delete(l.guarded, name)
	if l.xdp == nil {
		return nil
	}
	return l.xdp.Detach(name)
}

// Settle takes the chain away once every interface is up the ladder. With no interface at all
// it stays until one tells.
func (l *ladder) Settle() error {
	for name := range l.guarded {
		if _, err := net.InterfaceByName(name); err != nil {
			delete(l.guarded, name)
		}
	}
	if l.chain == nil || l.xdp == nil || len(l.guarded) > 0 {
		return nil
	}
	there, err := l.xdp.Attachments()
	if err != nil || len(there) == 0 {
		return err
	}
	l.log.Info("every interface does XDP: the chain goes", "chain", fallback.Name)
	held := l.held
	l.chain, l.chainErr, l.held = nil, nil, nil
	return errors.Join(fallback.Remove(), held.Close())
}

// keepers are where bans are.
func (l *ladder) keepers() []keeper {
	var all []keeper
	if l.xdp != nil {
		all = append(all, l.xdp)
	}
	if l.chain != nil {
		all = append(all, l.chain)
	}
	return all
}

// both reports whether bans are in two places.
func (l *ladder) both() bool { return l.xdp != nil && l.chain != nil }

// Account is every ban that is wanted.
func (l *ladder) Account() *ban.Account { return l.account }

// Ban makes the bans everywhere, in the chain first: who lists bans sees those that XDP has. Where XDP
// takes them and the chain does not, they are in force in part: Mend says so, and Compare tries again.
func (l *ladder) Ban(bans ...ban.Ban) error {
	switch {
	case l.xdp == nil:
		return l.banInChain(bans)
	case l.chain == nil:
		return l.xdp.Ban(bans...)
	}
	begun := l.unknown(bans)
	l.noteChain(l.chain.Ban(l.holdable(bans)...))
	if err := l.xdp.Ban(bans...); err != nil {
		return l.takeBack(begun, err)
	}
	return nil
}

// banInChain makes the bans where the chain is all there is.
func (l *ladder) banInChain(bans []ban.Ban) error {
	if err := l.chain.Ban(bans...); err != nil {
		return l.takeBack(l.unknown(bans), err)
	}
	for _, b := range bans {
		renew(l.account, b)
	}
	return nil
}

// unknown are those of bans that are not in force yet.
func (l *ladder) unknown(bans []ban.Ban) []netip.Prefix {
	var unknown []netip.Prefix
	for _, b := range bans {
		if !l.account.Has(b.Prefix) {
			unknown = append(unknown, b.Prefix)
		}
	}
	return unknown
}

// takeBack takes out of the chain what could not be had everywhere for a reason.
func (l *ladder) takeBack(begun []netip.Prefix, reason error) error {
	if _, err := l.chain.Unban(begun...); err != nil {
		return fmt.Errorf("%w; take back what was done: %w", reason, err)
	}
	return reason
}

// Restore makes bans everywhere what they were. The chain knows no way back: there they end
// and begin anew.
func (l *ladder) Restore(bans ...ban.Ban) error {
	if l.xdp != nil {
		if err := l.xdp.Restore(bans...); err != nil {
			return err
		}
	}
	if l.chain == nil {
		return nil
	}
	prefixes := make([]netip.Prefix, len(bans))
	for i, b := range bans {
		prefixes[i] = b.Prefix
	}
	if _, err := l.chain.Unban(prefixes...); err != nil {
		return err
	}
	if err := l.chain.Ban(l.holdable(bans)...); err != nil {
		return err
	}
	if l.xdp == nil {
		for _, b := range bans {
			l.account.Put(b)
		}
	}
	return nil
}

// Unban ends bans everywhere, in the chain first: what it does not let go of stays in the
// account.
func (l *ladder) Unban(prefixes ...netip.Prefix) (n int, err error) {
	if l.chain != nil {
		if n, err = l.chain.Unban(prefixes...); err != nil {
			return n, err
		}
	}
	if l.xdp != nil {
		ended, err := l.xdp.Unban(prefixes...)
		return max(n, ended), err
	}
	l.forget(prefixes)
	return n, nil
}

// forget takes prefixes out of the account where XDP does not keep it.
func (l *ladder) forget(prefixes []netip.Prefix) {
	if l.xdp != nil {
		return
	}
	for _, prefix := range prefixes {
		l.account.Delete(prefix)
	}
}

// Lister reads XDP's bans when it is called, those of the chain now.
func (l *ladder) Lister() (lister, error) {
	if l.chain == nil {
		return l.xdp.Each, nil
	}
	inChain, err := l.chain.Bans()
	if err != nil || l.xdp == nil {
		return listOf(inChain), err
	}
	xdp := l.xdp
	return func(yield func(ban.Record) bool) error { return listBoth(xdp, inChain, yield) }, nil
}

// listBoth lists the bans that are in either place.
func listBoth(xdp *loader.Loader, inChain []ban.Record, yield func(ban.Record) bool) error {
	left := make(map[netip.Prefix]ban.Record, len(inChain))
	for _, r := range inChain {
		left[r.Prefix] = r
	}
	going := true
	err := xdp.Each(func(r ban.Record) bool {
		if other, twice := left[r.Prefix]; twice {
			r = together(r, other)
			delete(left, r.Prefix)
		}
		going = yield(r)
		return going
	})
	if err != nil || !going {
		return err
	}
	return listOf(slices.Collect(maps.Values(left)))(yield)
}

// together is a ban that is in two places.
func together(a, b ban.Record) ban.Record {
	if b.End.After(a.End) {
		a.End = b.End
	}
	if b.Seen.After(a.Seen) {
		a.Seen = b.Seen
	}
	a.Packets += b.Packets
	a.Bytes += b.Bytes
	a.Refreshes += b.Refreshes
	return a
}

// Sweep lets go of bans that have ended everywhere.
func (l *ladder) Sweep() (ended []ban.Record, missing []netip.Prefix, err error) {
	if !l.both() {
		ended, missing, err = l.keepers()[0].Sweep()
		l.forget(prefixesOf(ended))
		l.forget(missing)
		return ended, missing, err
	}
	ended, missing, err = l.xdp.Sweep()
	over, lost, err2 := l.chain.Sweep()
	err = errors.Join(err, err2)
	ended, err2 = alive(ended, l.xdp, l.chain, l.inChain())
	err = errors.Join(err, err2)
	over, err2 = alive(over, l.chain, l.xdp, l.xdp.Find)
	return append(ended, over...), append(missing, lost...), errors.Join(err, err2)
}

// Due reports whether XDP has more bans that may have ended.
func (l *ladder) Due() bool { return l.xdp != nil && l.xdp.Due() }

// rulesAtOnce is how many bans change together where each is a rule: whichever of them change,
// the kernel reads all rules anew, so that many small steps take far longer than one.
const rulesAtOnce = 1 << 14

// Batch is larger where bans are rules.
func (l *ladder) Batch() int {
	if l.chain == nil {
		return batch
	}
	for _, addr := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		if l.chain.Strategy(addr) == fallback.Recent {
			return rulesAtOnce
		}
	}
	return batch
}

// Rooms are those of XDP's maps.
func (l *ladder) Rooms() []control.Room {
	if l.xdp == nil {
		return []control.Room{
			{Of: "bans and prefixes", Used: l.account.Len(), Max: 2*int(l.config.MaxBans) + int(l.config.MaxPrefixes), Key: "maxbans and maxprefixes"},
			{Of: "allow list", Used: l.allowed.Len(), Max: int(l.config.MaxAllowed), Key: "maxallowed"},
		}
	}
	var rooms []control.Room
	for _, r := range l.xdp.Rooms() {
		rooms = append(rooms, control.Room(r))
	}
	return rooms
}

func prefixesOf(records []ban.Record) []netip.Prefix {
	prefixes := make([]netip.Prefix, len(records))
	for i, r := range records {
		prefixes[i] = r.Prefix
	}
	return prefixes
}

// find finds the ban of a prefix, or of one around it.
type find func(netip.Prefix) (ban.Record, bool, error)

// inChain reads the chain through when it is asked first.
func (l *ladder) inChain() find {
	var there map[netip.Prefix]ban.Record
	return func(prefix netip.Prefix) (ban.Record, bool, error) {
		if there == nil {
			records, err := l.chain.Bans()
			if err != nil {
				return ban.Record{}, false, err
			}
			there = make(map[netip.Prefix]ban.Record, len(records))
			for _, r := range records {
				there[r.Prefix] = r
			}
		}
		r, ok := there[prefix]
		return r, ok, nil
	}
}

// alive puts bans that have ended in one place and not in the other back to the first, with
// the end that packets gave them in the other. It returns those that are over.
func alive(ended []ban.Record, from, other keeper, inOther find) (over []ban.Record, err error) {
	var back []ban.Ban
	for _, r := range ended {
		still, there, failed := inOther(r.Prefix)
		if failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		if there && still.Prefix == r.Prefix {
			back = append(back, still.Ban)
			continue
		}
		over = append(over, r)
	}
	if len(back) > 0 {
		err = errors.Join(err, from.Ban(back...))
	}
	if len(over) > 0 {
		_, failed := other.Unban(prefixesOf(over)...) // else it would tell of their end once more
		err = errors.Join(err, failed)
	}
	return over, err
}

// Allow spares what set holds, everywhere.
func (l *ladder) Allow(set *ban.Set) error {
	l.allowed = set
	var errs []error
	for _, k := range l.keepers() {
		errs = append(errs, k.Allow(set))
	}
	return errors.Join(errs...)
}

// Totals adds up what was dropped everywhere.
func (l *ladder) Totals() (t ban.Totals, err error) {
	for _, k := range l.keepers() {
		more, failed := k.Totals()
		err = errors.Join(err, failed)
		t.Dropped.Packets += more.Dropped.Packets
		t.Dropped.Bytes += more.Dropped.Bytes
		t.Allowed.Packets += more.Allowed.Packets
		t.Allowed.Bytes += more.Allowed.Bytes
	}
	return t, err
}

// Mend puts the chain back where others took it out.
func (l *ladder) Mend(thorough bool) ([]string, error) {
	if l.chain == nil {
		return nil, nil
	}
	mended, err := l.chain.Mend(thorough)
	if l.unheld.IsValid() && l.account.Has(l.unheld) {
		err = errors.Join(err, fmt.Errorf("not in force by iptables: %w", l.chain.Refuses(l.unheld)))
	}
	if l.chainErr != nil {
		err = errors.Join(err, fmt.Errorf("bans are not in force by iptables: %w", l.chainErr))
	}
	return mended, err
}

// Test asks each way to enforce.
func (l *ladder) Test(addr netip.Addr) ([]verdict, error) {
	var all []verdict
	if l.xdp != nil {
		v, err := l.testXDP(addr)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	if l.chain != nil {
		v, err := l.chain.Test(addr)
		if err != nil {
			return nil, err
		}
		all = append(all, verdict{mode: byIPTables, drop: v.Drop, by: v.By, note: v.Note})
	}
	return all, nil
}

// testXDP runs the kernel program on a packet from addr.
func (l *ladder) testXDP(addr netip.Addr) (verdict, error) {
	answer, err := l.xdp.Test(frameFrom(addr))
	if err != nil {
		return verdict{}, err
	}
	v := verdict{mode: "xdp", drop: answer == loader.Drop}
	by, there, err := l.xdp.Find(ban.Single(addr))
	if err != nil || !there {
		return v, err
	}
	v.by = by
	if !v.drop {
		v.note = "the allow list holds it"
	}
	return v, nil
}

// Clock names what tells the kernel the time.
func (l *ladder) Clock() string {
	if l.xdp == nil {
		return "the kernel's timers"
	}
	return l.xdp.Clock()
}

// Notes are those of the chain, and why there is none where one was needed.
func (l *ladder) Notes() []string {
	var notes []string
	if l.noXDP != nil {
		notes = append(notes, l.noXDP.Error())
	}
	if l.chain != nil {
		return append(notes, l.chain.Notes()...)
	}
	if l.noChain != nil {
		notes = append(notes, l.noChain.Error())
	}
	return notes
}

// Close gives back what this process holds. Everything stays in force.
func (l *ladder) Close() error {
	errs := []error{l.held.Close()}
	for _, k := range l.keepers() {
		errs = append(errs, k.Close())
	}
	return errors.Join(errs...)
}
