package fallback

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"xdpban/internal/ban"
)

// A strategy keeps the bans of one family by rules, and by what rules refer to.
type strategy interface {
	// prepare makes what the rules refer to. lost says that some of it had gone.
	prepare() (lost bool, err error)
	// undo removes what prepare made, after it turned out to be in vain.
	undo()
	// adopt learns the bans that an earlier daemon left.
	adopt(now time.Time) error
	// chains are the rules beside those of single bans, OFFENDINGIPS first.
	chains() []chain
	// banRules are those of single bans, at the end of the chains with these names.
	banRules() map[string][]string
	ban(list []ban.Ban, now time.Time) error
	unban(prefixes []netip.Prefix, now time.Time) (int, error)
	bans(now time.Time) ([]ban.Record, error)
	sweep(now time.Time) (ended []ban.Record, missing []netip.Prefix, err error)
	allow(prefixes []netip.Prefix) error
	// refill brings all known bans into force again after they were lost.
	refill(now time.Time) error
	test(addr netip.Addr, now time.Time) (Verdict, error)
	warnings() []string
}

// A chain is one of ours and its rules, as a batch has them, without -A and its name.
type chain struct {
	name  string
	rules []string
}

// A half is the chain of one family.
type half struct {
	*tables
	strategy
	settings *Settings
	v6       bool
	absent   bool     // this host does not speak the family
	refused  error    // nothing of the family is enforced, this is why
	method   string   // the strategy
	refusals []string // why no better strategy
	static   map[string][]string
	counted  ban.Totals // when they were read last
	lost     ban.Totals // of rules that are no more
	tried    time.Time  // when it was refused last
	hollow   bool       // what the rules refer to has been made anew and is not refilled yet
	watch    watch
}

// log is the rule of "Attacker's Back ", all bans of a class together.
const (
	logPrefix = "Attacker's Back "
	logLimit  = "-m limit --limit 30/min --limit-burst 10"
)

func openHalf(s *Settings, kind Kind, v6 bool) *half {
	h := &half{settings: s, v6: v6}
	if v6 && !hasIPv6() {
		h.absent = true
		return h
	}
	h.tables, h.refused = openTables(kind, v6)
	if h.refused != nil {
		return h
	}
	other := NFT
	if kind == NFT {
		other = Legacy
	}
	if t, err := openTables(other, v6); err == nil {
		if err := t.clear(); err != nil { // else a chain that nobody tends would go on dropping
			s.Log.Warn("clear the chain of the other iptables", "kind", other, "family", h.family(), "error", err)
		}
	}
	h.refused = h.choose()
	h.wait = lookWait
	return h
}

// choose takes the first strategy that works when it is tried.
func (h *half) choose() error {
	for _, name := range []string{IPSet, Recent} {
		if h.settings.Strategy != "" && h.settings.Strategy != name {
			continue
		}
		err := h.try(name)
		if err == nil {
			h.method = name
			return nil
		}
		h.undo()
		h.refusals = append(h.refusals, fmt.Sprintf("%s: %v", name, err))
	}
	return errors.New(strings.Join(h.refusals, "; "))
}

func (h *half) try(name string) error {
	switch name {
	case IPSet:
		h.strategy = newSets(h)
	default:
		h.strategy = newRecent(h)
	}
	if _, err := h.prepare(); err != nil {
		return err
	}
	if err := h.adopt(time.Now()); err != nil {
		return err
	}
	if err := h.build(); err != nil {
		return err
	}
	if err := h.dropOldChains(); err != nil {
		return err
	}
	return h.takeFirstPlace()
}

func (h *half) index() int {
	if h.v6 {
		return 1
	}
	return 0
}

func (h *half) family() string {
	if h.v6 {
		return "IPv6"
	}
	return "IPv4"
}

// addressBits is the length of the family's addresses.
func (h *half) addressBits() int {
	if h.v6 {
		return 128
	}
	return 32
}

// home is the length of the prefixes that count as one source.
func (h *half) home() int {
	if h.v6 {
		return h.settings.IPv6Prefix
	}
	return 32
}

func (h *half) notes() []string {
	switch {
	case h.absent:
		return []string{h.family() + ": this host has none"}
	case h.refused != nil:
		return []string{fmt.Sprintf("%s is NOT enforced: %v", h.family(), h.refused)}
	}
	notes := []string{fmt.Sprintf("%s: %s by iptables-%s", h.family(), h.method, h.kind)}
	for _, refusal := range append(slices.Clone(h.refusals), h.warnings()...) {
		notes = append(notes, h.family()+": "+refusal)
	}
	return notes
}

func (h *half) ban(list []ban.Ban, now time.Time) error {
	if h.refused != nil {
		return h.refused
	}
	if h.absent {
		return nil // no packet of the family can come
	}
	return h.strategy.ban(list, now)
}

func (h *half) unban(prefixes []netip.Prefix, now time.Time) (int, error) {
	if h.absent {
		return 0, nil
	}
	return h.strategy.unban(prefixes, now)
}

// test is the strategy's answer where the chain is in its place, else that all passes.
func (h *half) test(addr netip.Addr, now time.Time) (Verdict, error) {
	if h.absent {
		return Verdict{Note: "this host has no IPv6"}, nil
	}
	fault, err := h.fault()
	if err != nil {
		return Verdict{}, err
	}
	v, err := h.strategy.test(addr, now)
	if err == nil && fault != "" {
		v.Drop, v.Note = false, fault
	}
	return v, err
}

// errChanging says that what was read is not what was written.
var errChanging = errors.New("others change the tables while the chain is written")

// triesAtMost is how often in a row something is done that others may undo at the same time.
const triesAtMost = 3

// build writes all of our chains, in one step, and the counts that they had.
func (h *half) build() error {
	err := errChanging
	for n := 0; n < triesAtMost && errors.Is(err, errChanging); n++ {
		err = h.write("")
	}
	return err
}

// write writes our chains and does more commands in the same step.
func (h *half) write(more string) error {
	before, err := h.totals()
	if err != nil {
		return err
	}
	all, single := h.chains(), h.banRules()
	left := before
	var batch strings.Builder
	for _, c := range all {
		fmt.Fprintf(&batch, ":%s - [0:0]\n", c.name)
	}
	for _, c := range all {
		for _, rule := range c.rules {
			fmt.Fprintf(&batch, "%s-A %s %s\n", carry(&left, rule), c.name, rule)
		}
		for _, rule := range single[c.name] {
			fmt.Fprintf(&batch, "-A %s %s\n", c.name, rule)
		}
	}
	if err := h.restore(batch.String() + more); err != nil {
		return err
	}
	return h.note(before)
}

// note remembers what our chains look like now, and that this much had been counted:
// ip6tables-nft 1.8.9 takes no counts. Where others have changed the chains already nothing is
// learned: how they left them is not how they should be.
func (h *half) note(before ban.Totals) error {
	present, err := h.list(true)
	if err != nil {
		return err
	}
	if !h.complete(present) {
		return errChanging
	}
	h.lost = ban.Totals{}
	now := h.tally(present)
	h.lost.Dropped.Packets = before.Dropped.Packets - min(before.Dropped.Packets, now.Dropped.Packets)
	h.lost.Dropped.Bytes = before.Dropped.Bytes - min(before.Dropped.Bytes, now.Dropped.Bytes)
	h.lost.Allowed.Packets = before.Allowed.Packets - min(before.Allowed.Packets, now.Allowed.Packets)
	h.lost.Allowed.Bytes = before.Allowed.Bytes - min(before.Allowed.Bytes, now.Allowed.Bytes)
	h.static = make(map[string][]string)
	for _, c := range h.chains() {
		for _, rule := range present[c.name] {
			if !isBanRule(rule) {
				h.static[c.name] = append(h.static[c.name], countless(rule))
			}
		}
	}
	return nil
}

// complete reports whether all our chains are there, with as many rules as they should have.
func (h *half) complete(present listing) bool {
	single := h.banRules()
	for _, c := range h.chains() {
		rules, there := present[c.name]
		if !there || len(rules) != len(c.rules)+len(single[c.name]) {
			return false
		}
	}
	return true
}

// countless is rule without its count.
func countless(rule string) string {
	before, rest, found := strings.Cut(rule, " -c ")
	if !found {
		return rule
	}
	_, rest, _ = strings.Cut(rest, " ")
	_, rest, more := strings.Cut(rest, " ")
	if !more {
		return before
	}
	return before + " " + rest
}

// carry gives a rule that drops or spares the count of those before it, once.
func carry(t *ban.Totals, rule string) string {
	var c *ban.Count
	switch {
	case drops(rule):
		c = &t.Dropped
	case spares(rule):
		c = &t.Allowed
	default:
		return ""
	}
	prefix := fmt.Sprintf("[%d:%d] ", c.Packets, c.Bytes)
	*c = ban.Count{}
	return prefix
}

func drops(rule string) bool { return strings.Contains(rule, "-j DROP") }

// spares reports whether rule is one of the allow list, whose name or comment has the word.
func spares(rule string) bool {
	return strings.Contains(rule, "-j RETURN") && strings.Contains(rule, "allow")
}

func isBanRule(rule string) bool { return strings.Contains(rule, commentMark) }

// totals adds up the counters of the rules. They never go back: what was counted before
// somebody flushed the chain, or made it unreadable, is kept.
func (h *half) totals() (ban.Totals, error) {
	present, err := h.list(true)
	if err != nil {
		return h.counted, err
	}
	t := h.tally(present)
	if t.Dropped.Packets < h.counted.Dropped.Packets {
		t.Dropped = h.counted.Dropped
	}
	if t.Allowed.Packets < h.counted.Allowed.Packets {
		t.Allowed = h.counted.Allowed
	}
	h.counted = t
	return t, nil
}

func (h *half) tally(present listing) ban.Totals {
	t := h.lost
	for _, c := range h.chains() {
		for _, rule := range present[c.name] {
			switch {
			case drops(rule):
				add(&t.Dropped, countOf(rule))
			case spares(rule):
				add(&t.Allowed, countOf(rule))
			}
		}
	}
	return t
}

func add(sum *ban.Count, c ban.Count) {
	sum.Packets += c.Packets
	sum.Bytes += c.Bytes
}

// countOf reads "-c PACKETS BYTES" out of a rule.
func countOf(rule string) (c ban.Count) {
	if _, rest, ok := strings.Cut(rule, " -c "); ok {
		fmt.Sscan(rest, &c.Packets, &c.Bytes) //nolint:errcheck // a rule without them counts as 0
	}
	return c
}

// dropOldChains removes those of classes that are no more.
func (h *half) dropOldChains() error {
	present, err := h.list(false)
	if err != nil {
		return err
	}
	var batch strings.Builder
	for name := range present {
		if strings.HasPrefix(name, Name+"-") && !slices.ContainsFunc(h.chains(), func(c chain) bool { return c.name == name }) {
			fmt.Fprintf(&batch, "-F %s\n-X %s\n", name, name)
		}
	}
	if batch.Len() == 0 {
		return nil
	}
	return h.restore(batch.String())
}

// destroySets removes all sets of ours.
func destroySets() error {
	names, err := setNames()
	if err != nil {
		return nil //nolint:nilerr // a kernel without sets has none of ours
	}
	var errs []error
	for _, name := range names {
		if strings.HasPrefix(name, setPrefix(false)) || strings.HasPrefix(name, setPrefix(true)) {
			errs = append(errs, destroySet(name))
		}
	}
	return errors.Join(errs...)
}
