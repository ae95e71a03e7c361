package fallback

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"xdpban/internal/ban"
)

// Sets are the strategy ipset. A class of bans has three sets, and a chain that asks them:
//
//	base  who is banned; an entry ends with its ban's end as it was made
//	seen  who sent a packet while banned; an entry ends quiettime after the last one
//	life  every ban of the class; an entry ends at the ban's limit, if it has one
//
// A packet is dropped if its source is in life and in base or seen, and then it is put into
// seen, for quiettime from then. So the end is the later one of both, which no packet
// brings nearer; nothing passes the limit; and the kernel needs nobody for any of it.
// Where a ban cannot be prolonged, life ends with base.
//
// Packets of others cost one look into life a class; prefixes of unusual lengths, each
// length a class, are asked for only where a set of all such prefixes has the source.
type sets struct {
	half    *half
	classes map[class]bool
	known   map[netip.Prefix]kept
	ends    endHeap
	nets    int      // of known, those that are not of the home length
	made    []string // sets that were not there before
}

// A kept ban is one that should be in the sets. Its end is that of base.
type kept struct {
	ban.Ban
	class class
	look  time.Time // when to look whether it is over
}

// How often a ban that packets prolong is looked at, in parts of its quiettime.
const (
	looksPerQuiet = 16
	lookSoonest   = time.Second
	lookLatest    = time.Minute

	sweepAtMost   = 4096  // bans a sweep: some 20 ms
	tallyAtMost   = 20000 // entries that a sweep reads through for the counts of a few
	longestAtOnce = setTimeoutMax / 2 * time.Second
)

func newSets(h *half) *sets {
	s := &sets{half: h, classes: make(map[class]bool), known: make(map[netip.Prefix]kept)}
	s.classes[class{bits: h.home(), quiet: classOf(ban.Ban{Quiet: h.settings.Quiet}).quiet}] = true
	return s
}

func setPrefix(v6 bool) string {
	if v6 {
		return "xdpban6-"
	}
	return "xdpban4-"
}

// room is how many bans of c there may be.
func (s *sets) room(c class) uint32 {
	if c.bits == s.half.home() {
		return 2 * s.half.settings.MaxBans // of logs, and by hand
	}
	return s.half.settings.MaxPrefixes
}

func (s *sets) named(c class, what string) set {
	return set{name: setPrefix(s.half.v6) + c.String() + "-" + what, kind: hashIP, v6: s.half.v6, netmask: c.bits, room: s.room(c)}
}

func (s *sets) base(c class) set { return s.named(c, "base") }

// seen has room for entries that are left of bans which have been ended by hand.
func (s *sets) seen(c class) set {
	seen := s.named(c, "seen")
	seen.packets, seen.room = true, 2*seen.room
	return seen
}

func (s *sets) life(c class) set {
	life := s.named(c, lifeSet)
	life.tallies = true
	return life
}

const lifeSet = "life"

// netSet holds all prefixes that are not of the home length, whatever their class.
func (s *sets) netSet() set {
	return set{name: setPrefix(s.half.v6) + "nets", kind: hashNet, v6: s.half.v6, room: s.half.settings.MaxPrefixes}
}

func (s *sets) allowSet() set {
	return set{name: setPrefix(s.half.v6) + "allow", kind: hashNet, v6: s.half.v6, room: 2 * s.half.settings.MaxAllowed}
}

func (s *sets) all() []set {
	all := []set{s.netSet(), s.allowSet()}
	for c := range s.classes {
		all = append(all, s.ofClass(c)...)
	}
	return all
}

// ofClass are the sets of c, in the order in which a new ban goes into them.
func (s *sets) ofClass(c class) []set {
	list := []set{s.base(c), s.life(c)}
	if c.quiet > 0 {
		list = append(list, s.seen(c))
	}
	return list
}

// prepare makes the sets that are not there. Those of an earlier daemon are taken over, and
// made anew where they have another size.
func (s *sets) prepare() (lost bool, err error) {
	if err := setsSupported(); err != nil {
		return false, err
	}
	names, err := setNames()
	if err != nil {
		return false, err
	}
	for _, name := range names {
		text, ok := strings.CutPrefix(name, setPrefix(s.half.v6))
		text, life := strings.CutSuffix(text, "-"+lifeSet)
		if c, valid := parseClass(text); ok && life && valid {
			s.classes[c] = true
		}
	}
	for _, set := range s.all() {
		made, err := set.create()
		if errors.Is(err, unix.EEXIST) {
			made, err = false, set.replace()
		}
		if err != nil {
			return lost, err
		}
		if made {
			lost = true
			s.made = append(s.made, set.name)
		}
	}
	return lost, nil
}

// undo removes the sets that were made in vain.
func (s *sets) undo() {
	for _, name := range s.made {
		destroySet(name) //nolint:errcheck // an empty set does no harm
	}
}

func (s *sets) chains() []chain {
	main := chain{name: Name}
	list := []chain{}
	var homes, others []string
	for _, c := range slices.SortedFunc(maps.Keys(s.classes), func(a, b class) int { return strings.Compare(a.String(), b.String()) }) {
		call := fmt.Sprintf("-m set --match-set %s src ! --update-counters -j %s", s.life(c).name, c.chain())
		if c.bits == s.half.home() {
			homes = append(homes, call)
		} else {
			others = append(others, call)
		}
		list = append(list, chain{c.chain(), s.rules(c)})
	}
	main.rules = homes
	if len(others) > 0 {
		main.rules = append(main.rules, fmt.Sprintf("-m set ! --match-set %s src -j RETURN", s.netSet().name))
		main.rules = append(main.rules, others...)
	}
	return append([]chain{main}, list...)
}

// rules are those for packets whose source is in life of c.
func (s *sets) rules(c class) []string {
	base, seen, life := s.base(c).name, s.seen(c).name, s.life(c).name
	over := fmt.Sprintf("-m set ! --match-set %s src", base)
	silent := ""
	if c.quiet > 0 {
		silent = fmt.Sprintf("-m set ! --match-set %s src ", seen)
	}
	rules := []string{strings.TrimSpace(over+" "+silent) + " -j RETURN"}
	if !c.forced {
		rules = append(rules, fmt.Sprintf("-m set --match-set %s src -j RETURN", s.allowSet().name))
	}
	if !s.half.settings.Quietly {
		rules = append(rules, silent+logLimit+" -j LOG --log-prefix "+quoted(logPrefix))
	}
	if c.quiet > 0 {
		rules = append(rules, fmt.Sprintf("-j SET --add-set %s src --exist --timeout %d", seen, c.quiet))
	}
	return append(rules, fmt.Sprintf("-m set --match-set %s src -j DROP", life))
}

func (s *sets) banRules() map[string][]string { return nil }

func (s *sets) warnings() []string { return nil }

// adopt learns the bans that are in the sets.
func (s *sets) adopt(now time.Time) error {
	for c := range s.classes {
		life, err := s.life(c).list()
		if err != nil {
			return err
		}
		base, err := s.timeouts(s.base(c))
		if err != nil {
			return err
		}
		for _, e := range life {
			b, ok := parseComment(e.comment)
			if !ok {
				continue // somebody else's: Bans shows it
			}
			b.Prefix = e.prefix
			b.End = endOf(b, base[e.prefix], now)
			s.remember(kept{Ban: b, class: c, look: b.End})
		}
	}
	return nil
}

// endOf is when b ends if its entry has so many seconds left; 0: there is none. The comment
// tells it more exactly, unless the wall clock was set. Whoever sets it later moves no end: it is
// told as so long from now.
func endOf(b ban.Ban, left uint32, now time.Time) time.Time {
	end := now.Add(time.Duration(left) * time.Second)
	if d := b.End.Sub(end); left == 0 || d > -2*time.Second && d < 2*time.Second {
		return now.Add(b.End.Sub(now))
	}
	if b.End.Sub(now) > longestAtOnce {
		return now.Add(b.End.Sub(now)) // put again from time to time
	}
	return end
}

func (s *sets) timeouts(of set) (map[netip.Prefix]uint32, error) {
	entries, err := of.list()
	if err != nil {
		return nil, err
	}
	left := make(map[netip.Prefix]uint32, len(entries))
	for _, e := range entries {
		left[e.prefix] = max(1, e.timeout)
	}
	return left, nil
}

func (s *sets) remember(k kept) {
	if _, before := s.known[k.Prefix]; !before && k.class.bits != s.half.home() {
		s.nets++
	}
	s.known[k.Prefix] = k
	s.ends.add(k.look, k.Prefix)
}

func (s *sets) forget(prefix netip.Prefix) {
	if k, ok := s.known[prefix]; ok && k.class.bits != s.half.home() {
		s.nets--
	}
	delete(s.known, prefix)
}

func (s *sets) ban(list []ban.Ban, now time.Time) error {
	staged := make(map[netip.Prefix]kept, len(list))
	moved := make(map[netip.Prefix]class)
	for _, b := range list {
		if err := storable(b.Prefix); err != nil {
			return err
		}
		before, again := staged[b.Prefix]
		if !again {
			var err error
			if before, again, err = s.standing(b.Prefix, now); err != nil {
				return err
			}
		}
		if again {
			b = before.Ban.Renewed(b)
		}
		c := classOf(b)
		if again && before.class != c {
			moved[b.Prefix] = before.class
			b.End = s.carried(before, b, now)
		}
		staged[b.Prefix] = kept{Ban: b, class: c, look: lookAt(b, now)}
	}
	if err := s.fits(staged); err != nil {
		return err
	}
	if err := s.addClasses(staged); err != nil {
		return err
	}
	if err := s.write(staged, now); err != nil {
		return err
	}
	for prefix, from := range moved {
		if staged[prefix].class == from {
			continue
		}
		if err := s.eraseFrom(from, []netip.Prefix{prefix}); err != nil {
			return err
		}
	}
	return nil
}

// storable refuses what sets cannot hold.
func storable(prefix netip.Prefix) error {
	if !prefix.IsValid() || prefix != prefix.Masked() {
		return fmt.Errorf("ban %s: not a prefix", prefix)
	}
	if prefix.Addr().IsUnspecified() {
		return fmt.Errorf("ban %s: iptables cannot hold a prefix that begins with %s; ban its halves, but for the first addresses", prefix, prefix.Addr())
	}
	return nil
}

// lookAt is when to look whether b is over, or to put it again before its entry ends.
func lookAt(b ban.Ban, now time.Time) time.Time {
	if again := now.Add(longestAtOnce); again.Before(b.End) {
		return again
	}
	return b.End
}

// standing is the live ban of exactly prefix.
func (s *sets) standing(prefix netip.Prefix, now time.Time) (kept, bool, error) {
	k, ok := s.known[prefix]
	if !ok || k.Live(now) {
		return k, ok, nil
	}
	prolonged, err := s.prolonged(k, now)
	return k, prolonged, err
}

// prolonged asks the kernel whether packets keep k in force though its end has passed.
func (s *sets) prolonged(k kept, now time.Time) (bool, error) {
	if k.class.quiet == 0 || !k.Limit.IsZero() && !now.Before(k.Limit) {
		return false, nil
	}
	return s.seen(k.class).has(k.Prefix.Addr())
}

// carried is the end of b as it leaves its class for another: what packets gave it there
// is at most quiettime from now.
func (s *sets) carried(before kept, b ban.Ban, now time.Time) time.Time {
	if prolonged, err := s.prolonged(before, now); err != nil || !prolonged {
		return b.End
	}
	moved := before.Ban
	moved.End = later(moved.End, now.Add(time.Second))
	return later(b.End, moved.Refreshed(now).End)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// fits refuses bans for which there is no room, before any of them is made.
func (s *sets) fits(staged map[netip.Prefix]kept) error {
	homes, nets := len(s.known)-s.nets, s.nets
	for prefix, k := range staged {
		if _, again := s.known[prefix]; again {
			continue
		}
		if k.class.bits == s.half.home() {
			homes++
		} else {
			nets++
		}
	}
	if room := 2 * int(s.half.settings.MaxBans); homes > room {
		return fmt.Errorf("write %d bans: %w: %d bans of addresses; raise maxbans", len(staged), errSetFull, room)
	}
	if room := int(s.half.settings.MaxPrefixes); nets > room {
		return fmt.Errorf("write %d bans: %w: %d bans of prefixes; raise maxprefixes", len(staged), errSetFull, room)
	}
	return nil
}

// addClasses makes sets and chains for classes that there were not.
func (s *sets) addClasses(staged map[netip.Prefix]kept) error {
	added := []class{}
	for _, k := range staged {
		if !s.classes[k.class] {
			s.classes[k.class] = true
			added = append(added, k.class)
		}
	}
	if len(added) == 0 {
		return nil
	}
	_, err := s.prepare()
	if err == nil {
		err = s.half.build()
	}
	if err != nil {
		for _, c := range added {
			delete(s.classes, c)
		}
	}
	return err
}

// write brings staged into force, many at a time.
func (s *sets) write(staged map[netip.Prefix]kept, now time.Time) error {
	sizes := make(map[class]int)
	for _, k := range staged {
		sizes[k.class]++
	}
	base, life := make(map[class][]entry), make(map[class][]entry)
	for c, n := range sizes {
		base[c], life[c] = make([]entry, 0, n), make([]entry, 0, n)
	}
	var nets []entry
	for prefix, k := range staged {
		e := s.lifeEntry(k, now)
		base[k.class] = append(base[k.class], entry{prefix: prefix, timeout: left(k.End, now)})
		life[k.class] = append(life[k.class], e)
		if k.class.bits != s.half.home() {
			nets = append(nets, e)
		}
	}
	if err := s.netSet().add(nets); err != nil {
		return err
	}
	for c := range base {
		if err := s.base(c).add(base[c]); err != nil {
			return err
		}
		if err := s.life(c).add(life[c]); err != nil {
			return err
		}
	}
	s.ends.grow(len(staged))
	for _, k := range staged {
		s.remember(k)
	}
	return nil
}

// lifeEntry is k's entry of life. A renewed ban keeps its counts.
func (s *sets) lifeEntry(k kept, now time.Time) entry {
	e := entry{prefix: k.Prefix, comment: comment(k.Ban)}
	switch {
	case !k.Limit.IsZero():
		e.timeout = left(k.Limit, now)
	case k.class.quiet == 0:
		e.timeout = left(k.End, now)
	}
	if before, again := s.known[k.Prefix]; again && before.class == k.class {
		e.packets, e.bytes = asBefore, asBefore
	}
	return e
}

// erase takes prefixes out of all sets that hold a ban of c.
func (s *sets) erase(c class, prefixes []netip.Prefix) error {
	if err := s.eraseFrom(c, prefixes); err != nil || c.bits == s.half.home() {
		return err
	}
	return s.netSet().remove(prefixes)
}

// eraseFrom takes prefixes out of the sets of c. They end with the first.
func (s *sets) eraseFrom(c class, prefixes []netip.Prefix) error {
	if err := s.life(c).remove(prefixes); err != nil {
		return err
	}
	if err := s.base(c).remove(prefixes); err != nil || c.quiet == 0 {
		return err
	}
	return s.seen(c).remove(prefixes)
}

// unban also takes out entries that are in the sets and should not be.
func (s *sets) unban(prefixes []netip.Prefix, now time.Time) (n int, err error) {
	by := make(map[class][]netip.Prefix)
	for _, prefix := range prefixes {
		if k, ok := s.known[prefix]; ok {
			by[k.class] = append(by[k.class], prefix)
			n++
			continue
		}
		for c := range s.classes {
			if c.bits == prefix.Bits() {
				by[c] = append(by[c], prefix)
			}
		}
	}
	for c, list := range by {
		if err := s.erase(c, list); err != nil {
			return 0, err
		}
		for _, prefix := range list {
			s.forget(prefix)
		}
	}
	return n, nil
}

// bans reads all sets. An entry that is not ours has no jail.
func (s *sets) bans(now time.Time) ([]ban.Record, error) {
	var records []ban.Record
	for c := range s.classes {
		list, err := s.bansOf(c, now)
		if err != nil {
			return nil, err
		}
		records = append(records, list...)
	}
	return records, nil
}

func (s *sets) bansOf(c class, now time.Time) ([]ban.Record, error) {
	life, err := s.life(c).list()
	if err != nil {
		return nil, err
	}
	base, err := s.timeouts(s.base(c))
	if err != nil {
		return nil, err
	}
	seen := make(map[netip.Prefix]uint32)
	if c.quiet > 0 {
		if seen, err = s.timeouts(s.seen(c)); err != nil {
			return nil, err
		}
	}
	var records []ban.Record
	for _, e := range life {
		if base[e.prefix] == 0 && seen[e.prefix] == 0 {
			continue // over
		}
		records = append(records, s.record(c, e, base[e.prefix], seen[e.prefix], now))
	}
	return records, nil
}

// record is an entry of life as people read it, with the seconds that are left of it in
// base and in seen.
func (s *sets) record(c class, e entry, base, seen uint32, now time.Time) ban.Record {
	r := ban.Record{Tally: ban.Tally{Packets: e.packets, Bytes: e.bytes}}
	if k, ok := s.known[e.prefix]; ok {
		r.Ban = k.Ban
	} else {
		r.Ban, _ = parseComment(e.comment)
		r.Prefix = e.prefix
		r.Quiet = time.Duration(c.quiet) * time.Second
		r.Forced = c.forced
	}
	r.End = endOf(r.Ban, base, now)
	if seen == 0 {
		return r
	}
	r.Seen = now.Add(time.Duration(seen)*time.Second - time.Duration(c.quiet)*time.Second).Truncate(time.Second)
	end := now.Add(time.Duration(seen) * time.Second)
	if !r.Limit.IsZero() && end.After(r.Limit) {
		end = r.Limit
	}
	if base == 0 || end.After(r.End.Add(time.Second)) {
		r.End, r.Refreshes = end, 1
	}
	return r
}

func (s *sets) sweep(now time.Time) (ended []ban.Record, missing []netip.Prefix, err error) {
	over := make(map[class][]netip.Prefix)
	again := make(map[netip.Prefix]kept)
	for range sweepAtMost {
		prefix, at, ok := s.ends.first()
		if !ok || at.After(now) {
			break
		}
		k, known := s.known[prefix]
		if known && k.look.Equal(at) {
			live, asked := s.standingStill(k, now)
			if asked != nil {
				err = asked // the others are looked at, this one the next time
				break
			}
			if live {
				k.look = s.nextLook(k, now)
				again[prefix] = k
			} else {
				over[k.class] = append(over[k.class], prefix)
			}
		}
		s.ends.drop()
	}
	err = errors.Join(err, s.again(again, now))
	for c, prefixes := range over {
		gone, lost, failed := s.conclude(c, prefixes, now)
		ended, missing = append(ended, gone...), append(missing, lost...)
		err = errors.Join(err, failed)
	}
	return ended, missing, err
}

// standingStill reports whether k drops packets now.
func (s *sets) standingStill(k kept, now time.Time) (bool, error) {
	if k.Live(now) {
		return true, nil
	}
	return s.prolonged(k, now)
}

// nextLook is when to look again at k, which is in force.
func (s *sets) nextLook(k kept, now time.Time) time.Time {
	if k.Live(now) {
		return lookAt(k.Ban, now)
	}
	wait := time.Duration(k.class.quiet) * time.Second / looksPerQuiet
	next := now.Add(max(lookSoonest, min(wait, lookLatest)))
	if !k.Limit.IsZero() && k.Limit.Before(next) {
		return k.Limit
	}
	return next
}

// again looks at bans later; entries whose timeout could not be long enough get another.
func (s *sets) again(bans map[netip.Prefix]kept, now time.Time) error {
	renewed := make(map[netip.Prefix]kept)
	for prefix, k := range bans {
		s.remember(k)
		if k.Live(now) {
			renewed[prefix] = k
		} else if k.Limit.Sub(k.Since) > longestAtOnce {
			if err := s.life(k.class).add([]entry{s.lifeEntry(k, now)}); err != nil {
				return err
			}
		}
	}
	if len(renewed) == 0 {
		return nil
	}
	return s.write(renewed, now)
}

// conclude lets go of bans of c that are over. Those whose entry should have been there
// until now and is not are missing.
func (s *sets) conclude(c class, prefixes []netip.Prefix, now time.Time) (ended []ban.Record, missing []netip.Prefix, err error) {
	tallies := make(map[netip.Prefix]entry)
	readable := len(s.known) <= tallyAtMost
	if readable {
		entries, err := s.life(c).list()
		if err != nil {
			return nil, nil, err
		}
		for _, e := range entries {
			tallies[e.prefix] = e
		}
	}
	if err := s.erase(c, prefixes); err != nil {
		for _, prefix := range prefixes {
			s.ends.add(now, prefix)
		}
		return nil, nil, err
	}
	for _, prefix := range prefixes {
		k := s.known[prefix]
		s.forget(prefix)
		e, there := tallies[prefix]
		if permanent := k.class.quiet > 0 && k.Limit.IsZero(); readable && permanent && !there {
			missing = append(missing, prefix)
			continue
		}
		ended = append(ended, ban.Record{Ban: k.Ban, Tally: ban.Tally{Packets: e.packets, Bytes: e.bytes}})
	}
	return ended, missing, nil
}

// allow makes the set of allowed prefixes hold these and no others.
func (s *sets) allow(prefixes []netip.Prefix) error {
	want := make(map[netip.Prefix]bool)
	for _, prefix := range prefixes {
		if prefix.Bits() > 0 {
			want[prefix] = true
			continue
		}
		for _, half := range halves(prefix) { // sets hold no prefix of length 0
			want[half] = true
		}
	}
	present, err := s.allowSet().list()
	if err != nil {
		return err
	}
	var extra []netip.Prefix
	for _, e := range present {
		if !want[e.prefix] {
			extra = append(extra, e.prefix)
		}
		delete(want, e.prefix)
	}
	var add []entry
	for prefix := range want {
		add = append(add, entry{prefix: prefix})
	}
	if err := s.allowSet().add(add); err != nil {
		return err
	}
	return s.allowSet().remove(extra)
}

// halves are the two prefixes that make up prefix, which has length 0.
func halves(prefix netip.Prefix) []netip.Prefix {
	upper := netip.AddrFrom4([4]byte{128})
	if prefix.Addr().Is6() {
		upper = netip.AddrFrom16([16]byte{128})
	}
	return []netip.Prefix{netip.PrefixFrom(prefix.Addr(), 1), netip.PrefixFrom(upper, 1)}
}

func (s *sets) refill(now time.Time) error {
	live := make(map[netip.Prefix]kept)
	for prefix, k := range s.known {
		if k.Live(now) {
			live[prefix] = k
		}
	}
	s.known, s.nets = make(map[netip.Prefix]kept), 0
	return s.write(live, now)
}

// test asks the sets in the order of the rules.
func (s *sets) test(addr netip.Addr, now time.Time) (v Verdict, err error) {
	allowed, err := s.allowSet().has(addr)
	if err != nil {
		return v, err
	}
	for c := range s.classes {
		meets, err := s.meets(c, addr)
		if err != nil || !meets {
			if err != nil {
				return v, err
			}
			continue
		}
		drop := c.forced || !allowed
		if v.Drop || v.By.Prefix.IsValid() && !drop {
			continue
		}
		v = Verdict{Drop: drop, By: s.ruling(c, addr, now)}
		if !drop {
			v.Note = "the allow list holds it"
		}
	}
	return v, nil
}

// meets asks whether addr is in life, and in base or seen.
func (s *sets) meets(c class, addr netip.Addr) (bool, error) {
	if in, err := s.life(c).has(addr); err != nil || !in {
		return false, err
	}
	if in, err := s.base(c).has(addr); err != nil || in {
		return in, err
	}
	if c.quiet == 0 {
		return false, nil
	}
	return s.seen(c).has(addr)
}

// ruling is the ban of class c that addr is under.
func (s *sets) ruling(c class, addr netip.Addr, now time.Time) ban.Record {
	prefix := netip.PrefixFrom(addr, c.bits).Masked()
	list, err := s.bansOf(c, now)
	if err == nil {
		for _, r := range list {
			if r.Prefix == prefix {
				return r
			}
		}
	}
	return ban.Record{Ban: ban.Ban{Prefix: prefix}}
}
