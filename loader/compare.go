package loader

import (
	"fmt"
	"net/netip"
	"time"

	"xdpban/internal/ban"
)

// How much a Comparison does in one turn, some 1 ms.
const (
	checkAtMost = 1024 // bans in the kernel
	visitAtMost = 4096 // bans in the account
	putAtMost   = 512  // bans that were lost
)

// ending is how near its end a ban may be gone already: clocks are read one after the other.
const ending = 2 * time.Second

// backAtMost bounds how many of those who are back a Comparison names.
const backAtMost = 101

// A Comparison is what was found in the kernel against the account.
type Comparison struct {
	Evicted  int            // bans that logs led to and that the kernel had dropped for want of room, put back
	Repaired int            // put back, those among them, or overlooked by the kernel program
	Unknown  []netip.Prefix // in the kernel, and not in the account; some of them where there are many
	Unknowns int            // how many they are
	Returned []ban.Record   // bans whose source was quiet for as long as it must, and sends again; the same
	Returns  int
}

// UnknownAtMost is how many a Comparison names.
const UnknownAtMost = 1000

// Compare looks for differences between the account and the kernel, and mends them: bans
// that the kernel has lost are put back, ends that packets have moved are noted. Any
// goroutine but the owner's calls it. What it does to the Loader it does in turns, which
// take it about a millisecond each; turn has the owner call a function and returns what
// comes of it. How many bans there are does not matter to the owner.
func (l *Loader) Compare(turn func(func() error) error) (Comparison, error) {
	c, err := l.compare(turn)
	if err != nil {
		err = explain(fmt.Errorf("compare bans: %w", err))
	}
	return c.Comparison, err
}

// A comparison is one that goes on.
type comparison struct {
	Comparison
	*reader
}

func (l *Loader) compare(turn func(func() error) error) (c comparison, err error) {
	if c.reader, err = l.reader(); err != nil {
		return c, err
	}
	if err = turn(func() error { l.account.Begin(); return nil }); err != nil {
		return c, err
	}
	err = c.each(func(list []found) error {
		for len(list) > 0 {
			n := min(len(list), checkAtMost)
			some := list[:n]
			if err := turn(func() error { return l.check(&c, some) }); err != nil {
				return err
			}
			list = list[n:]
		}
		return nil
	})
	for page := 0; err == nil && page < l.account.Pages(); {
		err = turn(func() error { return l.putBack(&c, &page) })
	}
	return c, err
}

// check looks bans in the kernel up in the account.
func (l *Loader) check(c *comparison, list []found) error {
	for i := range list {
		f := &list[i]
		r := record(f.place, &f.value, c.now, l.labels.names[f.value.Label], c.pending)
		seen, known := l.account.Note(r, 0)
		if !known {
			if err := l.checkUnknown(c, f.place); err != nil {
				return err
			}
			continue
		}
		unseen, err := l.mark(&f.place)
		if err != nil {
			return err
		}
		if unseen {
			c.Repaired++
		}
		if r.Seen.IsZero() || !seen.IsZero() && r.Seen.Sub(seen) <= max(r.Quiet, time.Second) {
			continue
		}
		if c.Returns++; c.Returns < backAtMost {
			c.Returned = append(c.Returned, r)
		}
	}
	return nil
}

// checkUnknown counts a ban that nobody wants, if it is still there: it may have ended
// since it was read.
func (l *Loader) checkUnknown(c *comparison, p place) error {
	v, there, err := l.lookup(p)
	if err != nil || !there || v.End <= c.now.ns {
		return err
	}
	if c.Unknowns++; c.Unknowns <= UnknownAtMost {
		c.Unknown = append(c.Unknown, p.Prefix())
	}
	return nil
}

// putBack puts back what was not found of the bans on some pages, from page on.
func (l *Loader) putBack(c *comparison, page *int) error {
	var lost []ban.Ban
	for visited := 0; *page < l.account.Pages() && visited < visitAtMost && len(lost) < putAtMost; *page++ {
		visited += 1 + l.account.PageLen(*page)
		for _, b := range l.account.Unseen(*page, 0) {
			if time.Until(b.End) <= ending {
				continue
			}
			if _, there, err := l.lookup(l.placeOf(&b)); err != nil {
				return err
			} else if !there {
				lost = append(lost, b)
			}
		}
	}
	if len(lost) == 0 {
		return nil
	}
	if err := l.enter(lost, false); err != nil {
		return err
	}
	c.Repaired += len(lost)
	for _, b := range lost {
		if l.placeOf(&b).table == inBans {
			c.Evicted++
		}
	}
	return nil
}
