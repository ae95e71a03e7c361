package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"xdpban/jails/filter"
)

// What a tally keeps is what a map of everybody would say.
func TestTally(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	type seen struct {
		hits        int
		first, last int64
	}
	var tally tally
	all := make(map[string]*seen)
	for range 20_000 {
		n := random.IntN(700)
		r := filter.Result{Time: time.Unix(1000+int64(random.IntN(5000)), 5)}
		switch n % 3 {
		case 0:
			r.Addr = netip.AddrFrom4([4]byte{198, 51, byte(n >> 8), byte(n)})
		case 1:
			r.Addr = netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", n))
		default:
			r.Name = fmt.Sprintf("name%d", n)
		}
		tally.add(&r)
		at := r.Time.Unix()
		if all[r.ID()] == nil {
			all[r.ID()] = &seen{0, at, at}
		}
		s := all[r.ID()]
		s.hits, s.first, s.last = s.hits+1, min(s.first, at), max(s.last, at)
	}
	most := tally.most(1000)
	if len(most) != len(all) || tally.sources() != len(all) || tally.more != 0 {
		t.Fatalf("%d sources, %d shown, %d more; want %d", tally.sources(), len(most), tally.more, len(all))
	}
	for _, s := range most {
		if got := (seen{s.hits, s.first.Unix(), s.last.Unix()}); all[s.id()] == nil || got != *all[s.id()] || s.addr.IsValid() != (s.id()[0] != 'n') {
			t.Errorf("%s: got %+v, want %+v", s.id(), got, all[s.id()])
		}
	}
	if !slices.IsSortedFunc(most, sourceTrial.compare) {
		t.Error("those with most hits do not come first")
	}
	if few := tally.most(7); !slices.EqualFunc(few, most[:7], func(a, b sourceTrial) bool { return a == b }) {
		t.Errorf("the first seven are %v, want %v", few, most[:7])
	}
}
