package fallback

import (
	"container/heap"
	"net/netip"
	"slices"
	"time"
)

// An ending is when to look at a ban.
type ending struct {
	at     time.Time
	prefix netip.Prefix
}

// An endHeap has the first ending on top. It may hold endings of bans that have been renewed
// or ended since.
type endHeap []ending

// grow makes room for n more.
func (h *endHeap) grow(n int) { *h = slices.Grow(*h, n) }

func (h *endHeap) add(at time.Time, prefix netip.Prefix) {
	*h = append(*h, ending{at, prefix})
	heap.Fix(h, len(*h)-1)
}

func (h endHeap) first() (netip.Prefix, time.Time, bool) {
	if len(h) == 0 {
		return netip.Prefix{}, time.Time{}, false
	}
	return h[0].prefix, h[0].at, true
}

func (h *endHeap) drop() { heap.Pop(h) }

// Len is for package heap, as are Less, Swap, Push and Pop.
func (h endHeap) Len() int { return len(h) }

// Less puts the earlier one first.
func (h endHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }

// Swap exchanges two.
func (h endHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push appends x; add does without, and without making x an any.
func (h *endHeap) Push(x any) { *h = append(*h, x.(ending)) }

// Pop takes the last.
func (h *endHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}
