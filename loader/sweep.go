package loader

import (
	"container/heap"
	"fmt"
	"net/netip"

	"xdpban/internal/ban"
)

// sweepAtMost bounds how long one Sweep keeps its caller: some 10 ms.
const sweepAtMost = 8192

// An ending is when a ban ends unless a packet came.
type ending struct {
	ns    uint64
	place place
}

// An endHeap has the first ending on top.
type endHeap []ending

// Len is for package heap, as are Less, Swap, Push and Pop.
func (h endHeap) Len() int { return len(h) }

// Less puts the earlier end first.
func (h endHeap) Less(i, j int) bool { return h[i].ns < h[j].ns }

// Swap exchanges two.
func (h endHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push appends x.
func (h *endHeap) Push(x any) { *h = append(*h, x.(ending)) }

// Pop takes the last.
func (h *endHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

// remember notes that the ban at p ends at ns or later.
func (l *Loader) remember(p place, ns uint64) {
	if known, ok := l.known[p]; ok && known == ns {
		return
	}
	l.known[p] = ns
	heap.Push(&l.ends, ending{ns, p})
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
	pending map[uint32]Count
	ended   []ban.Record
	missing []netip.Prefix
}

func (l *Loader) sweep() (s sweep, err error) {
	if s.now, err = l.clock.now(); err != nil {
		return s, err
	}
	for range sweepAtMost {
		if len(l.ends) == 0 || l.ends[0].ns > s.now.ns {
			break
		}
		if s.pending == nil {
			if s.pending, err = l.pending(); err != nil {
				return s, err
			}
		}
		if err := l.sweepFirst(&s); err != nil {
			return s, err
		}
	}
	return s, nil
}

// sweepFirst deals with the first ending. After an error it is still the first.
func (l *Loader) sweepFirst(s *sweep) error {
	first := l.ends[0]
	p := first.place
	if known, ok := l.known[p]; !ok || known != first.ns {
		heap.Pop(&l.ends) // unbanned or renewed since
		return nil
	}
	v, ok, err := l.lookup(p)
	if err != nil {
		return err
	}
	if ok && v.End > s.now.ns {
		heap.Pop(&l.ends)
		l.remember(p, v.End) // packets moved it
		return nil
	}
	// No packet moves the end of a ban that has ended: nothing can change before this.
	if _, err := l.remove(p); err != nil {
		return err
	}
	heap.Pop(&l.ends)
	if ok {
		s.ended = append(s.ended, l.record(p, &v, s.now, s.pending))
	} else {
		s.missing = append(s.missing, p.prefix())
	}
	return nil
}
