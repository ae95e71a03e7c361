// Package fallback keeps banned sources out where XDP cannot run: by the chain OFFENDINGIPS
// of iptables and ip6tables, first in INPUT, so that packets of a banned address meet it
// before any rule that accepts established flows.
//
// Two strategies mean the same: sets with timeouts, and rules with the match recent where
// the kernel has no sets. Bans by sets go on, move and end by themselves with no process at
// all, and the next Chain adopts them; see sets.go and recent.go.
//
// A Chain has one owner, who calls it from one goroutine, and works in the network namespace
// of the calling thread.
package fallback

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"

	"xdpban/internal/ban"
)

// Name is that of the chain, and the beginning of those of the chains that it calls.
const Name = "OFFENDINGIPS"

// The strategies.
const (
	IPSet  = "ipset"  // sets with timeouts
	Recent = "recent" // a rule for each ban, and the match recent
)

// retryEvery is how often a family is tried that was refused.
var retryEvery = 30 * time.Second

// Settings say how the chain is made and how much it holds.
type Settings struct {
	IPv6Prefix  int           // bits of an IPv6 address that count as one source, 1 to 128
	MaxBans     uint32        // bans of single sources that logs lead to; as many by hand
	MaxPrefixes uint32        // bans of prefixes
	MaxAllowed  uint32        // prefixes on the allow list
	Quiet       time.Duration // that of most bans
	Forward     bool          // drop what is forwarded too
	Quietly     bool          // the kernel logs no "Attacker's Back "
	Kind        Kind          // of iptables; empty: the one in use on this host
	Strategy    string        // IPSet or Recent; empty: the first that this host can do
	Log         *slog.Logger  // nil: nowhere
}

// A Chain is OFFENDINGIPS of both families.
type Chain struct {
	settings Settings
	kind     Kind
	halves   [2]*half // IPv4, IPv6
	allowed  *ban.Set // nil: nobody
}

// Open makes the chain, or takes it over where an earlier one left it, with its bans. The
// families fail apart: one of them is enough, and Notes say what is with the other. The
// error is that of both.
func Open(s Settings) (*Chain, error) {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	c := &Chain{settings: s, kind: s.Kind}
	if c.kind == "" {
		kind, err := KindInUse()
		if err != nil {
			return nil, fmt.Errorf("open the chain %s: %w", Name, err)
		}
		c.kind = kind
	}
	var failed []error
	for i := range c.halves {
		h := openHalf(&c.settings, c.kind, i == 1)
		h.tried = time.Now()
		c.halves[i] = h
		if h.refused != nil {
			failed = append(failed, fmt.Errorf("%s: %w", h.family(), h.refused))
		}
	}
	if c.halves[0].refused != nil && (c.halves[1].refused != nil || c.halves[1].absent) {
		return nil, fmt.Errorf("open the chain %s: %w", Name, errors.Join(failed...))
	}
	return c, nil
}

// of is the half for addresses like addr.
func (c *Chain) of(addr netip.Addr) *half {
	if addr.Is4() {
		return c.halves[0]
	}
	return c.halves[1]
}

// split sorts things by family.
func split[T any](things []T, is4 func(T) bool) [2][]T {
	var by [2][]T
	for _, thing := range things {
		i := 1
		if is4(thing) {
			i = 0
		}
		if by[i] == nil {
			by[i] = make([]T, 0, len(things))
		}
		by[i] = append(by[i], thing)
	}
	return by
}

// Ban makes the bans, or renews those of the same prefixes. On an error some may have been
// made; doing it again is safe.
func (c *Chain) Ban(bans ...ban.Ban) error {
	now := time.Now()
	for i, list := range split(bans, func(b ban.Ban) bool { return b.Prefix.Addr().Is4() }) {
		if len(list) == 0 {
			continue
		}
		if err := c.halves[i].ban(list, now); err != nil {
			return fmt.Errorf("ban in the chain %s: %s: %w", Name, c.halves[i].family(), err)
		}
	}
	return nil
}

// Unban ends the bans of exactly these prefixes and counts those that were there.
func (c *Chain) Unban(prefixes ...netip.Prefix) (n int, err error) {
	for i, list := range split(prefixes, func(p netip.Prefix) bool { return p.Addr().Is4() }) {
		if len(list) == 0 || c.halves[i].refused != nil {
			continue // nobody is banned there
		}
		ended, err := c.halves[i].unban(list, time.Now())
		n += ended
		if err != nil {
			return n, fmt.Errorf("unban in the chain %s: %s: %w", Name, c.halves[i].family(), err)
		}
	}
	return n, nil
}

// Bans lists the bans in force, those of an earlier Chain too, in no order. Refreshes is 1
// for a ban that packets have prolonged, however often: nobody counts there.
func (c *Chain) Bans() (records []ban.Record, err error) {
	return records, c.each(func(h *half) error {
		list, err := h.bans(time.Now())
		records = append(records, list...)
		return err
	})
}

// Sweep lets go of bans that have ended and returns them; missing are those that should
// have been there and were not. Call it about once a second.
func (c *Chain) Sweep() (ended []ban.Record, missing []netip.Prefix, err error) {
	return ended, missing, c.each(func(h *half) error {
		over, lost, err := h.sweep(time.Now())
		ended, missing = append(ended, over...), append(missing, lost...)
		return err
	})
}

// Allow makes the chain spare what set holds, and nothing else.
func (c *Chain) Allow(set *ban.Set) error {
	c.allowed = set
	return c.each(func(h *half) error { return h.spare(set) })
}

// spare makes h spare what set holds of its family, and nothing else.
func (h *half) spare(set *ban.Set) error {
	var prefixes []netip.Prefix
	for prefix := range set.All {
		prefixes = append(prefixes, prefix)
	}
	by := split(prefixes, func(p netip.Prefix) bool { return p.Addr().Is4() })
	return h.allow(by[h.index()])
}

// Totals reads the counts of the rules.
func (c *Chain) Totals() (t ban.Totals, err error) {
	return t, c.each(func(h *half) error {
		counts, err := h.totals()
		t.Dropped.Packets += counts.Dropped.Packets
		t.Dropped.Bytes += counts.Dropped.Bytes
		t.Allowed.Packets += counts.Allowed.Packets
		t.Allowed.Bytes += counts.Allowed.Bytes
		return err
	})
}

// Mend puts back what others have taken out of the tables, and says what that was. It looks
// only where the kernel says that something changed, unless thorough. Call it about once
// a second.
func (c *Chain) Mend(thorough bool) (mended []string, err error) {
	mended = c.tryRefused(time.Now())
	return mended, c.each(func(h *half) error {
		what, err := h.mend(time.Now(), thorough)
		if what != "" && err == nil {
			mended = append(mended, h.family()+": "+what)
		}
		return err
	})
}

// tryRefused tries again, from time to time, families that were refused: who kept them may have
// gone. Bans that should be in force there are put in by whoever compares.
func (c *Chain) tryRefused(now time.Time) (mended []string) {
	for i, h := range c.halves {
		if h.refused == nil || now.Sub(h.tried) < retryEvery {
			continue
		}
		h.tried = now
		next := openHalf(&c.settings, c.kind, i == 1)
		if next.refused != nil || next.absent {
			continue
		}
		if c.allowed != nil && next.spare(c.allowed) != nil {
			continue
		}
		c.halves[i] = next
		mended = append(mended, fmt.Sprintf("%s was not enforced: %v", h.family(), h.refused))
	}
	return mended
}

// each does something to the families that can be enforced.
func (c *Chain) each(do func(*half) error) error {
	var errs []error
	for _, h := range c.halves {
		if h.refused != nil || h.absent {
			continue
		}
		if err := do(h); err != nil {
			errs = append(errs, fmt.Errorf("chain %s: %s: %w", Name, h.family(), err))
		}
	}
	return errors.Join(errs...)
}

// Kind is which iptables the chain is in.
func (c *Chain) Kind() Kind { return c.kind }

// Notes say for each family how its bans are enforced and what speaks against it.
func (c *Chain) Notes() []string {
	var notes []string
	for _, h := range c.halves {
		notes = append(notes, h.notes()...)
	}
	return notes
}

// Strategy is how bans of addresses like addr are enforced: IPSet, Recent, or nothing.
func (c *Chain) Strategy(addr netip.Addr) string { return c.of(addr).method }

// Refused is why bans of addresses like addr are not enforced, nil where they are.
func (c *Chain) Refused(addr netip.Addr) error { return c.of(addr).refused }

// Refuses is why the chain can hold no ban of prefix, of all that its sets can hold others of; nil: it can.
func (c *Chain) Refuses(prefix netip.Prefix) error {
	if c.of(prefix.Addr()).method != IPSet {
		return nil
	}
	return storable(prefix)
}

// Absent reports whether this host does not speak the family of addr: then bans of it are
// nothing that could be enforced.
func (c *Chain) Absent(addr netip.Addr) bool { return c.of(addr).absent }

// A Verdict is what the chain does with a packet.
type Verdict struct {
	Drop bool
	By   ban.Record // what it meets: the ban, whether it drops or the allow list spares
	Note string     // where it passes though there is a ban: why
}

// Test says what becomes of packets from addr: whether the chain is where it must be, and
// what the kernel's sets or lists hold for addr now.
func (c *Chain) Test(addr netip.Addr) (Verdict, error) {
	h := c.of(addr.Unmap())
	if h.refused != nil {
		return Verdict{}, fmt.Errorf("test %s: %s: %w", addr, h.family(), h.refused)
	}
	v, err := h.test(addr.Unmap(), time.Now())
	if err != nil {
		return Verdict{}, fmt.Errorf("test %s: %s: %w", addr, h.family(), err)
	}
	return v, nil
}

// Close gives back what this process holds: nothing. The chain stays in force.
func (c *Chain) Close() error { return nil }

// Present reports whether an earlier Chain left anything in force.
func Present() bool {
	for _, kind := range []Kind{NFT, Legacy} {
		for _, v6 := range []bool{false, true} {
			t, err := openTables(kind, v6)
			if err != nil {
				continue
			}
			if chains, err := t.list(false); err == nil && chains[Name] != nil {
				return true
			}
		}
	}
	return false
}

// Remove takes the chain, its sets and every ban out of the kernel, of whichever kind they
// are. Where there is nothing, it does nothing.
func Remove() error {
	var errs []error
	for _, kind := range []Kind{NFT, Legacy} {
		for _, v6 := range []bool{false, true} {
			if t, err := openTables(kind, v6); err == nil {
				errs = append(errs, t.clear())
			}
		}
	}
	return errors.Join(append(errs, destroySets())...)
}

// hasIPv6 reports whether this host speaks IPv6 at all.
func hasIPv6() bool {
	_, err := os.Stat("/proc/thread-self/net/if_inet6")
	return err == nil
}

// quoted is text as a batch of rules has it.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
