package fallback

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"xdpban/internal/ban"
)

// Rules are the strategy recent. Each ban is a rule, which the kernel's clock ends; the
// first packet that meets it is put into a list, and whoever is in the list is dropped until
// he has been quiet for long enough:
//
//	-A OFFENDINGIPS -m recent --name ATTACKER --update --seconds 3600 -j DROP
//	-A OFFENDINGIPS -s IP -m time --datestop END -m comment --comment ... -j OFFENDINGIPS-32-3600
//	-A OFFENDINGIPS-32-3600 -m limit ... -j LOG --log-prefix "Attacker's Back "
//	-A OFFENDINGIPS-32-3600 -m recent --name ATTACKER --set -j DROP
//
// A ban with a limit has a list that no rule for all asks, and a rule of its own for it,
// which ends at the limit. Before the rule of a ban ends, it is written again if packets
// have moved the end: so a ban holds, too, whose address has fallen out of a list that is
// too small, and counters tell of packets that the list has forgotten.
type recent struct {
	half    *half
	classes map[class]bool
	known   map[netip.Prefix]ruled
	ends    endHeap
	allowed []netip.Prefix
	spared  []netip.Prefix // of allowed, those that have a rule
	timed   bool           // rules end by themselves
	clock   listClock
	counted time.Time // when counters were read last
}

// A ruled ban has rules. Its end is where they end.
type ruled struct {
	ban.Ban
	class   class
	look    time.Time
	seen    time.Time // by counters
	packets uint64    // of its rules when they were read last
}

const (
	listName    = "ATTACKER"
	forcedChain = Name + "-FORCED"
	clockChain  = Name + "-CLOCK"

	// lookAhead is how long before its end a rule is looked at, to be written again.
	lookAhead = 5 * time.Second

	// countEvery is how often counters are read where lists are too small, and so many
	// more rules make it a second more.
	countEvery     = 3 * time.Second
	rulesPerSecond = 1000

	// deleteAtMost rules are deleted one by one; beyond it is faster to write all anew.
	deleteAtMost = 50
)

func newRecent(h *half) *recent {
	r := &recent{half: h, classes: make(map[class]bool), known: make(map[netip.Prefix]ruled), timed: true}
	r.clock.v6 = h.v6
	r.classes[class{bits: h.home(), quiet: classOf(ban.Ban{Quiet: h.settings.Quiet}).quiet}] = true
	return r
}

func (r *recent) classOf(b ban.Ban) class {
	c := classOf(b)
	c.limited = c.quiet > 0 && !b.Limit.IsZero()
	return c
}

// prepare finds out whether rules can end by themselves.
func (r *recent) prepare() (lost bool, err error) {
	err = r.half.tryRule(clockChain, r.clock.rule())
	if err != nil {
		return false, err
	}
	r.timed = r.half.tryRule(clockChain, r.clock.rule(), "-m time --datestop 2038-01-01T00:00:00") == nil
	return false, nil
}

// undo has nothing to remove but a chain that no packet comes to.
func (r *recent) undo() {
	r.half.restore(fmt.Sprintf("-F %s\n-X %s\n", clockChain, clockChain)) //nolint:errcheck // as said
}

// tryRule makes chain hold these rules and no others.
func (h *half) tryRule(chain string, rules ...string) error {
	var batch strings.Builder
	fmt.Fprintf(&batch, ":%s - [0:0]\n", chain)
	for _, rule := range rules {
		fmt.Fprintf(&batch, "-A %s %s\n", chain, rule)
	}
	return h.restore(batch.String())
}

// adopt learns the bans that an earlier daemon left, from the comments of their rules.
func (r *recent) adopt(now time.Time) error {
	present, err := r.half.list(false)
	if err != nil {
		return err
	}
	for _, name := range []string{Name, forcedChain} {
		for _, rule := range present[name] {
			if b, ok := parseRule(rule); ok {
				r.keep(b)
			}
		}
	}
	return nil
}

// parseRule reads the ban that rule was made for.
func parseRule(rule string) (ban.Ban, bool) {
	_, text, found := strings.Cut(rule, commentMark)
	text, _, _ = strings.Cut(text, " ")
	b, ok := parseComment(commentMark + strings.Trim(text, `"`))
	_, source, sourced := strings.Cut(rule, " -s ")
	source, _, _ = strings.Cut(source, " ")
	prefix, err := ban.ParsePrefix(source)
	b.Prefix = prefix
	return b, found && ok && sourced && err == nil
}

func (r *recent) keep(b ban.Ban) {
	b.End, b.Limit = wholeSecond(b.End), wholeSecond(b.Limit)
	c := r.classOf(b)
	r.classes[c] = true
	k := ruled{Ban: b, class: c, look: b.End}
	if c.quiet > 0 {
		k.look = b.End.Add(-lookAhead)
	}
	if before, again := r.known[b.Prefix]; again {
		k.seen, k.packets = before.seen, before.packets
	}
	r.known[b.Prefix] = k
	r.ends.add(k.look, b.Prefix)
}

// wholeSecond is the first full second that is not before t: rules end in full seconds.
func wholeSecond(t time.Time) time.Time {
	if whole := t.Truncate(time.Second); whole.Before(t) {
		return whole.Add(time.Second)
	}
	return t
}

// list is the name of the kernel's list for c.
func (r *recent) list(c class) string {
	if !r.half.v6 && c == (class{bits: 32, quiet: classOf(ban.Ban{Quiet: r.half.settings.Quiet}).quiet}) {
		return listName
	}
	if r.half.v6 {
		return listName + "6-" + c.String()
	}
	return listName + "4-" + c.String()
}

// match is the match recent on c's list.
func (r *recent) match(c class, what string) string {
	match := fmt.Sprintf("-m recent --name %s", r.list(c))
	if c.bits != r.half.addressBits() {
		match += " --mask " + maskOf(c.bits, r.half.v6)
	}
	return match + " " + what
}

// maskOf is the first bits of an address set, as an address.
func maskOf(bits int, v6 bool) string {
	ones := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if v6 {
		ones = netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
	}
	return netip.PrefixFrom(ones, bits).Masked().Addr().String()
}

func (r *recent) chains() []chain {
	main, forced := chain{name: Name}, chain{name: forcedChain}
	main.rules = append(main.rules, "-j "+forcedChain)
	for _, prefix := range r.spared {
		main.rules = append(main.rules, fmt.Sprintf("-s %s -m comment --comment xdpban-allow -j RETURN", prefix))
	}
	list := []chain{}
	for _, c := range slices.SortedFunc(maps.Keys(r.classes), func(a, b class) int { return strings.Compare(a.String(), b.String()) }) {
		if c.quiet > 0 && !c.limited {
			update := r.match(c, fmt.Sprintf("--update --seconds %d -j DROP", c.quiet))
			if c.forced {
				forced.rules = append(forced.rules, update)
			} else {
				main.rules = append(main.rules, update)
			}
		}
		list = append(list, chain{c.chain(), r.rules(c)})
	}
	return append([]chain{main, forced, {clockChain, []string{r.clock.rule()}}}, list...)
}

// rules are those for packets that meet a ban of c and are not in its list.
func (r *recent) rules(c class) []string {
	var rules []string
	if !r.half.settings.Quietly {
		rules = append(rules, logLimit+" -j LOG --log-prefix "+quoted(logPrefix))
	}
	if c.quiet == 0 {
		return append(rules, "-j DROP")
	}
	return append(rules, r.match(c, "--set -j DROP"))
}

// chainOf is where the rules of k are.
func (k ruled) chainOf() string {
	if k.class.forced {
		return forcedChain
	}
	return Name
}

// rulesOf are those of k, without -A and the chain.
func (r *recent) rulesOf(k ruled) []string {
	text := " -m comment --comment " + comment(k.Ban) + " "
	rule := fmt.Sprintf("-s %s%s%s-j %s", k.Prefix, r.until(k.End), text, k.class.chain())
	if !k.class.limited {
		return []string{rule}
	}
	update := r.match(k.class, fmt.Sprintf("--update --seconds %d", k.class.quiet))
	return []string{fmt.Sprintf("-s %s%s %s%s-j DROP", k.Prefix, r.until(k.Limit), update, text), rule}
}

// until is the match that ends a rule at t; what it says is the last second in which the rule
// holds. It knows no later time than 2038: the daemon ends those rules.
func (r *recent) until(t time.Time) string {
	if !r.timed || t.Year() >= 2038 {
		return ""
	}
	return " -m time --datestop " + t.Add(-time.Second).UTC().Format("2006-01-02T15:04:05")
}

func (r *recent) banRules() map[string][]string {
	rules := make(map[string][]string)
	for _, k := range r.known {
		rules[k.chainOf()] = append(rules[k.chainOf()], r.rulesOf(k)...)
	}
	return rules
}

func (r *recent) ban(list []ban.Ban, now time.Time) error {
	staged := make(map[netip.Prefix]ban.Ban, len(list))
	lists := r.lists()
	for _, b := range list {
		if !b.Prefix.IsValid() || b.Prefix != b.Prefix.Masked() {
			return fmt.Errorf("ban %s: not a prefix", b.Prefix)
		}
		before, again := staged[b.Prefix]
		if k, ok := r.known[b.Prefix]; !again && ok {
			before = k.Ban
			before.End = r.endOf(k, lists[k.class][b.Prefix])
			again = before.Live(now)
		}
		if again {
			b = before.Renewed(b)
		}
		staged[b.Prefix] = b
	}
	if err := r.fits(staged); err != nil {
		return err
	}
	return r.rewrite(staged, nil)
}

// fits refuses bans beyond what was configured: each rule costs every packet some time.
func (r *recent) fits(staged map[netip.Prefix]ban.Ban) error {
	n := len(r.known)
	for prefix := range staged {
		if _, again := r.known[prefix]; !again {
			n++
		}
	}
	if room := 2*int(r.half.settings.MaxBans) + int(r.half.settings.MaxPrefixes); n > room {
		return fmt.Errorf("write %d bans: there is room for %d; raise maxbans", len(staged), room)
	}
	return nil
}

// rewrite brings bans into force with the rules they need now, and takes out those of gone.
// All of it is done or nothing.
func (r *recent) rewrite(bans map[netip.Prefix]ban.Ban, gone []netip.Prefix) error {
	before, classes, spared := maps.Clone(r.known), maps.Clone(r.classes), r.spared
	var batch strings.Builder
	deleted := 0
	remove := func(k ruled) {
		for _, rule := range r.rulesOf(k) {
			fmt.Fprintf(&batch, "-D %s %s\n", k.chainOf(), rule)
			deleted++
		}
	}
	for _, prefix := range gone {
		remove(r.known[prefix])
		delete(r.known, prefix)
	}
	for prefix, b := range bans {
		if k, again := r.known[prefix]; again {
			remove(k)
		}
		r.keep(b)
		k := r.known[prefix]
		for _, rule := range r.rulesOf(k) {
			fmt.Fprintf(&batch, "-A %s %s\n", k.chainOf(), rule)
		}
	}
	r.spare()
	var err error
	if deleted > deleteAtMost || len(r.classes) != len(classes) || !slices.Equal(r.spared, spared) {
		err = r.half.build()
	} else {
		err = r.half.restore(batch.String())
	}
	if err != nil {
		r.known, r.classes, r.spared = before, classes, spared
	}
	return err
}

// spare finds the allowed prefixes that bans overlap: those alone need a rule.
func (r *recent) spare() {
	var set ban.Set
	for prefix := range r.known {
		set.Add(prefix, "")
	}
	r.spared = nil
	for _, prefix := range r.allowed {
		if _, _, covered := set.Covering(prefix); covered || len(set.Within(prefix)) > 0 {
			r.spared = append(r.spared, prefix)
		}
	}
}

func (r *recent) unban(prefixes []netip.Prefix, now time.Time) (int, error) {
	known := slices.DeleteFunc(slices.Clone(prefixes), func(p netip.Prefix) bool {
		_, ok := r.known[p]
		return !ok
	})
	classes := make(map[netip.Prefix]class, len(known))
	for _, prefix := range known {
		classes[prefix] = r.known[prefix].class
	}
	if len(known) == 0 {
		return 0, nil
	}
	if err := r.rewrite(nil, known); err != nil {
		return 0, err
	}
	return len(known), r.strike(classes)
}

// strike takes prefixes off the kernel's lists.
func (r *recent) strike(prefixes map[netip.Prefix]class) error {
	var errs []error
	for prefix, c := range prefixes {
		if c.quiet > 0 {
			errs = append(errs, writeList(r.list(c), "-"+prefix.Addr().String()))
		}
	}
	return errors.Join(errs...)
}

// lists reads who is on the kernel's lists, and since when they have been quiet.
func (r *recent) lists() map[class]map[netip.Prefix]time.Time {
	all := make(map[class]map[netip.Prefix]time.Time)
	for c := range r.classes {
		if c.quiet > 0 {
			all[c] = r.clock.read(r.list(c), c.bits)
		}
	}
	return all
}

// endOf is when k ends if no packet comes after seen.
func (r *recent) endOf(k ruled, seen time.Time) time.Time {
	b := k.Ban
	seen = later(seen, k.seen)
	if seen.IsZero() {
		return b.End
	}
	// Its end then is not known, but the kernel lists nobody who was not banned.
	b.End = later(b.End, seen.Add(time.Nanosecond))
	return b.Refreshed(seen).End
}

func (r *recent) bans(now time.Time) ([]ban.Record, error) {
	counts, err := r.counts()
	if err != nil {
		return nil, err
	}
	lists := r.lists()
	var records []ban.Record
	for prefix, k := range r.known {
		rec := ban.Record{Ban: k.Ban, Tally: ban.Tally{Packets: counts[prefix].Packets, Bytes: counts[prefix].Bytes}}
		rec.Seen = later(lists[k.class][prefix], k.seen).Truncate(time.Second)
		rec.End = r.endOf(k, lists[k.class][prefix])
		if rec.End.After(k.End) {
			rec.Refreshes = 1
		}
		if rec.Live(now) {
			records = append(records, rec)
		}
	}
	return records, nil
}

// counts reads the counters of the bans' rules. What a list has dropped is not in them.
func (r *recent) counts() (map[netip.Prefix]ban.Count, error) {
	counts := make(map[netip.Prefix]ban.Count)
	present, err := r.half.list(true)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{Name, forcedChain} {
		for _, rule := range present[name] {
			if b, ok := parseRule(rule); ok {
				sum := counts[b.Prefix]
				add(&sum, countOf(rule))
				counts[b.Prefix] = sum
			}
		}
	}
	return counts, nil
}

func (r *recent) sweep(now time.Time) (ended []ban.Record, missing []netip.Prefix, err error) {
	if err := r.readCounters(now); err != nil {
		return nil, nil, err
	}
	var lists map[class]map[netip.Prefix]time.Time
	prolonged := make(map[netip.Prefix]ban.Ban)
	gone := make(map[netip.Prefix]class)
	for range sweepAtMost {
		prefix, at, ok := r.ends.first()
		if !ok || at.After(now) {
			break
		}
		r.ends.drop()
		k, known := r.known[prefix]
		if !known || !k.look.Equal(at) {
			continue
		}
		if lists == nil {
			lists = r.lists()
		}
		end := r.endOf(k, lists[k.class][prefix])
		switch {
		case end.After(k.End.Add(time.Second)) && end.After(now):
			k.Ban.End = end
			prolonged[prefix] = k.Ban
		case end.After(now):
			k.look = end
			r.known[prefix] = k
			r.ends.add(end, prefix)
		default:
			gone[prefix] = k.class
			ended = append(ended, ban.Record{Ban: k.Ban, Tally: ban.Tally{Packets: k.packets}})
		}
	}
	if len(prolonged)+len(gone) == 0 {
		return nil, nil, nil
	}
	if err := r.rewrite(prolonged, slices.Collect(maps.Keys(gone))); err != nil {
		for prefix := range r.known {
			r.ends.add(r.known[prefix].look, prefix)
		}
		return nil, nil, err
	}
	return ended, nil, r.strike(gone)
}

// readCounters finds out who sent packets, where lists are too small to tell.
func (r *recent) readCounters(now time.Time) error {
	every := countEvery + time.Duration(len(r.known)/rulesPerSecond)*time.Second
	if len(r.known) <= listSize() || now.Sub(r.counted) < every {
		return nil
	}
	r.counted = now
	counts, err := r.counts()
	if err != nil {
		return err
	}
	for prefix, k := range r.known {
		packets := counts[prefix].Packets
		if packets > k.packets {
			k.seen = now
		}
		if packets != k.packets {
			k.packets = packets
			r.known[prefix] = k
		}
	}
	return nil
}

func (r *recent) allow(prefixes []netip.Prefix) error {
	r.allowed = slices.Clone(prefixes)
	slices.SortFunc(r.allowed, func(a, b netip.Prefix) int { return strings.Compare(a.String(), b.String()) })
	before := r.spared
	if r.spare(); slices.Equal(before, r.spared) {
		return nil
	}
	return r.half.build()
}

// refill has nothing to do: all rules of bans are in banRules.
func (r *recent) refill(time.Time) error { return nil }

func (r *recent) test(addr netip.Addr, now time.Time) (v Verdict, err error) {
	lists := r.lists()
	allowed := slices.ContainsFunc(r.spared, func(p netip.Prefix) bool { return p.Contains(addr) })
	for prefix, k := range r.known {
		end := r.endOf(k, lists[k.class][prefix])
		if !prefix.Contains(addr) || !now.Before(end) {
			continue
		}
		there, err := r.there(k)
		if err != nil {
			return v, err
		}
		b := k.Ban
		b.End = end
		if v.Drop {
			continue
		}
		v.By = ban.Record{Ban: b, Tally: ban.Tally{Seen: lists[k.class][prefix]}}
		switch v.Drop = there && (k.class.forced || !allowed); {
		case !there:
			v.Note = "its rule is not in the chain"
		case !v.Drop:
			v.Note = "the allow list holds it"
		}
	}
	return v, nil
}

// there asks iptables whether the rules of k are in the chain.
func (r *recent) there(k ruled) (bool, error) {
	for _, rule := range r.rulesOf(k) {
		there, err := r.half.Exists(filterTable, k.chainOf(), strings.Fields(rule)...)
		if err != nil || !there {
			return false, err
		}
	}
	return true, nil
}

// warnings tell of lists that are too small.
func (r *recent) warnings() []string {
	var all []string
	if !r.timed {
		all = append(all, "the kernel lacks the match time: bans end only while the daemon runs")
	}
	if size := listSize(); len(r.known) > size {
		all = append(all, fmt.Sprintf("%d bans, and the kernel's lists hold %d addresses: %s", len(r.known), size, LargerLists(r.half.settings.MaxBans)))
	}
	return all
}

const listParameters = "/sys/module/xt_recent"

// listSize is how many addresses a list of the match recent holds: 100 unless the module
// was loaded with a larger ip_list_tot.
func listSize() int {
	text, err := os.ReadFile(listParameters + "/parameters/ip_list_tot")
	size, err2 := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || err2 != nil {
		return 100
	}
	return size
}

// ListSize is how many addresses the lists of the strategy recent hold.
func ListSize() int { return listSize() }

// LargerLists says how to have lists of the match recent that hold size addresses.
func LargerLists(size uint32) string {
	if _, err := os.Stat(listParameters + "/initstate"); err != nil {
		return fmt.Sprintf("boot with xt_recent.ip_list_tot=%d", size)
	}
	return fmt.Sprintf("put \"options xt_recent ip_list_tot=%d\" into /etc/modprobe.d/xdpban.conf", size)
}
