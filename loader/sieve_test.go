package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"xdpban/internal/ban"
	"xdpban/internal/lab"
)

// A kernel that shares no maps is told of every bit.
func TestSieveOfAKernelThatSharesNoMaps(t *testing.T) {
	l := open(t)
	spec, err := loadXdpban()
	must(t, err)
	must(t, l.sieve.close())
	must(t, lab.Hosts(t, 1)[0].DoOn(lab.WithoutMapFlags(unix.BPF_F_MMAPABLE), func() (err error) {
		l.sieve, err = newSieve(spec.Maps[xdpbanMapSieve], l.settings.MaxBans)
		return err
	}))
	if l.sieve.shared != nil {
		t.Fatal("the sieve is shared")
	}
	must(t, l.prog.Close())
	must(t, l.dry.Close())
	must(t, l.loadPrograms(spec))
	want := func(source string, v Verdict) {
		t.Helper()
		if got := verdict(t, l, from(source)); got != v {
			t.Errorf("%s: got %v, want %v", source, got, v)
		}
	}
	must(t, l.Ban(hour("192.0.2.7/32"), hour("2001:db8::/64")))
	want("192.0.2.7", Drop)
	want("2001:db8::1", Drop)
	want("192.0.2.8", Pass)
	_, err = l.Unban(netip.MustParsePrefix("192.0.2.7/32"))
	must(t, err)
	must(t, l.sift())
	want("192.0.2.7", Pass)
	want("2001:db8::1", Drop)
}

// A kernel that could not be told of a bit is told when it is asked for again, and the ban that it
// was for is not there.
func TestSieveThatCouldNotBeWritten(t *testing.T) {
	l := open(t)
	shared := l.sieve
	closed, err := shared.m.Clone()
	must(t, err)
	must(t, closed.Close())
	l.sieve = &sieve{m: closed, words: make([]uint64, len(shared.words))}
	byLog, byHand := hour("192.0.2.7/32"), hour("192.0.2.8/32")
	byHand.Hand = true
	before := l.contents
	if err := l.Ban(byLog, byHand); err == nil {
		t.Error("banned without a sieve")
	}
	if l.sieve.set != 0 || slices.ContainsFunc(l.sieve.words, func(v uint64) bool { return v != 0 }) {
		t.Error("bits are set that the kernel has not")
	}
	if c := l.contents; c.Held != before.Held || c.Nets != before.Nets || l.account.Len() != 0 {
		t.Errorf("the maps should hold %+v, they hold %+v", before, c)
	}
	l.sieve = shared
	must(t, l.Ban(byLog, byHand))
	for _, b := range []ban.Ban{byLog, byHand} {
		if got := verdict(t, l, from(b.Prefix.Addr().String())); got != Drop {
			t.Errorf("%s: got %v", b.Prefix, got)
		}
	}
}

// A ban that the kernel program overlooks is found by a comparison.
func TestComparisonMendsTheSieve(t *testing.T) {
	l := open(t)
	b := hour("192.0.2.7/32")
	must(t, l.Ban(b))
	p := l.placeOf(&b)
	word, _ := l.sieve.bitOf(&p.Addr)
	must(t, l.sieve.write(word, 0))
	want := func(v Verdict, repaired int) {
		t.Helper()
		if got := verdict(t, l, from("192.0.2.7")); got != v {
			t.Errorf("got %v, want %v", got, v)
		}
		n := 0
		if c, err := l.Compare(turns(&n)); err != nil || c.Repaired != repaired {
			t.Errorf("compared: %+v, %v, want %d repaired", c, err, repaired)
		}
	}
	want(Pass, 1)
	want(Drop, 0)
}

// However many bans come and go, the sieve stays a sieve, and at no time anybody passes it who must
// not.
func TestSieveForgetsBansThatAreOver(t *testing.T) {
	s := small(t, fmt.Sprintf("sieve-%d", os.Getpid()))
	l := reopen(t, s)
	t.Cleanup(func() { must(t, Remove(s.Pin)) })
	must(t, l.Ban(hour("192.0.2.7/32"), hour("2001:db8::/64")))
	done, watched := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-done:
				watched <- nil
				return
			default:
			}
			for _, source := range []string{"192.0.2.7", "2001:db8::1"} {
				if v, err := l.Test(from(source)); v != Drop || err != nil {
					<-done
					watched <- errors.Join(err, fmt.Errorf("%s: %v", source, v))
					return
				}
			}
		}
	}()
	most, sifted, before := 0, 0, 0
	for i := range 20 {
		come := row(fmt.Sprintf("10.%d.0.0", i), 1000)
		must(t, l.Ban(come...))
		most = max(most, l.sieve.set)
		for _, b := range come {
			before = l.sieve.set
			_, err := l.Unban(b.Prefix)
			must(t, err)
			if l.sieve.set < before {
				sifted++
			}
		}
	}
	close(done)
	must(t, <-watched)
	if room := 64 * len(l.sieve.words); most > room/2 || sifted == 0 || sifted > 20 {
		t.Errorf("%d of %d bits were set, sifted %d times", most, room, sifted)
	}
}

// Neighbours take a bit each, or nearly.
func TestSieveSpreadsSources(t *testing.T) {
	for _, first := range []string{"10.0.0.0", "192.0.2.0"} {
		s := &sieve{words: make([]uint64, 1<<12), shared: []byte{}}
		n := 1 << 14
		for _, b := range row(first, n) {
			p := placeIn(inBans, b.Prefix)
			_, err := s.mark(&p.Addr)
			must(t, err)
		}
		if s.set < n*9/10 {
			t.Errorf("%d neighbours of %s have %d bits of %d", n, first, s.set, 64*len(s.words))
		}
	}
}
