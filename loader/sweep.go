package loader

import (
	"fmt"
	"net/netip"

	"xdpban/internal/ban"
)

// sweepAtMost bounds how long one Sweep keeps its caller: some 10 ms.
const sweepAtMost = 8192

// known is what we know of a ban in the maps.
type known struct {
	end   uint64 // ns; packets may have moved it
	table table
}

// An ending is when a ban ends unless a packet came.
type ending struct {
	ns     uint64
	source source
}

// An endHeap has the first ending on top. Package heap would box a million of them.
type endHeap []ending

func (h *endHeap) push(e ending) {
	*h = append(*h, e)
	at := len(*h) - 1
	for at > 0 {
		parent := (at - 1) / 2
		if (*h)[parent].ns <= e.ns {
			break
		}
		(*h)[at] = (*h)[parent]
		at = parent
	}
	(*h)[at] = e
}

func (h *endHeap) pop() ending {
	first, last := (*h)[0], len(*h)-1
	e := (*h)[last]
	*h = (*h)[:last]
	if last == 0 {
		return first
	}
	at := 0
	for child := 1; child < last; child = 2*at + 1 {
		if child+1 < last && (*h)[child+1].ns < (*h)[child].ns {
			child++
		}
		if e.ns <= (*h)[child].ns {
			break
		}
		(*h)[at] = (*h)[child]
		at = child
	}
	(*h)[at] = e
	return first
}

// remember notes that the ban at p ends at ns or later.
func (l *Loader) remember(p place, ns uint64) {
	before, ok := l.known[p.source]
	l.known[p.source] = known{ns, p.table}
	if !ok || before.end != ns {
		l.ends.push(ending{ns, p.source})
	}
}

// Sweep deletes bans that have ended and returns them, as they were at their ends;
// missing are those that should have been there and were not: the kernel had evicted
// them. It looks only at bans that may have ended, and at some thousands at most: call it
// about once a second.
func (l *Loader) Sweep() (ended []ban.Record, missing []netip.Prefix, err error) {
	s, err := l.sweep()
	if err != nil {
		err = explain(fmt.Errorf("sweep: %w", err))
	}
	return s.ended, s.missing, err
}

// A sweep is one round of it.
type sweep struct {
	now     moment
	pending map[uint32]ban.Count
	due     []place // to be deleted
	ended   []ban.Record
	missing []netip.Prefix
}

func (l *Loader) sweep() (s sweep, err error) {
	if s.now, err = l.clock.now(); err != nil {
		return s, err
	}
	if !l.due(s.now) {
		return s, nil
	}
	if s.pending, err = l.pending(); err != nil {
		return s, err
	}
	for n := 0; n < sweepAtMost && l.due(s.now); n++ {
		if err := l.sweepFirst(&s); err != nil {
			return s, err
		}
	}
	if _, err := l.remove(s.due); err != nil {
		return sweep{}, err
	}
	return s, nil
}

// due reports whether a ban may have ended by now.
func (l *Loader) due(now moment) bool { return len(l.ends) > 0 && l.ends[0].ns <= now.ns }

// sweepFirst deals with the first ending, all but deleting the ban. No packet moves the end
// of a ban that has ended, so that this can be done later.
func (l *Loader) sweepFirst(s *sweep) error {
	first := l.ends.pop()
	k, ok := l.known[first.source]
	if !ok || k.end != first.ns {
		return nil // unbanned or renewed since
	}
	p := place{first.source, k.table}
	v, ok, err := l.lookup(p)
	if err != nil {
		l.ends.push(first)
		return err
	}
	if ok && v.End > s.now.ns {
		l.remember(p, v.End) // packets moved it
		return nil
	}
	s.due = append(s.due, p)
	if ok {
		s.ended = append(s.ended, l.record(p, &v, s.now, s.pending))
	} else {
		s.missing = append(s.missing, p.prefix())
	}
	return nil
}
