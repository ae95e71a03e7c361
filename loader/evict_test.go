package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xdpban/internal/ban"
)

// run of n bans by log from that address on.
func row(from string, n int) []ban.Ban {
	bans := make([]ban.Ban, n)
	addr := netip.MustParseAddr(from)
	for i := range bans {
		bans[i] = hour("192.0.2.0/32")
		bans[i].Prefix = ban.Single(addr)
		addr = addr.Next()
	}
	return bans
}

// lost are those of bans that are not in the kernel.
func lost(tb testing.TB, l *Loader, bans []ban.Ban) []netip.Prefix {
	tb.Helper()
	var lost []netip.Prefix
	for _, b := range bans {
		_, there, err := l.lookup(l.placeOf(&b))
		must(tb, err)
		if !there {
			lost = append(lost, b.Prefix)
		}
	}
	return lost
}

// turns has Compare take its turns in this goroutine, and counts them.
func turns(n *int) func(func() error) error {
	return func(do func() error) error {
		*n++
		return do()
	}
}

func compare(tb testing.TB, l *Loader) Comparison {
	tb.Helper()
	c, err := l.Compare(turns(new(int)))
	must(tb, err)
	slices.SortFunc(c.Unknown, ban.Compare)
	return c
}

// onEachCPU calls do on every CPU that this process may use.
func onEachCPU(tb testing.TB, do func(cpu int)) {
	tb.Helper()
	for cpu := range runtime.NumCPU() {
		done := make(chan error, 1)
		go func() {
			runtime.LockOSThread() // never unlocked: this thread stays on its CPU
			var set unix.CPUSet
			set.Set(cpu)
			err := unix.SchedSetaffinity(0, &set)
			if err == nil {
				do(cpu)
			}
			done <- err
		}()
		must(tb, <-done)
	}
}

// As many bans as configured are kept, whichever CPUs they come from and however small the
// map is. The next one is refused, and costs nobody his place.
func TestNothingIsEvictedUpToMaxBans(t *testing.T) {
	for _, size := range []uint32{1, 64, 300, 4096} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := small(t, fmt.Sprintf("evict-%d", os.Getpid()))
			s.MaxBans = size
			l := reopen(t, s)
			t.Cleanup(func() { must(t, Remove(s.Pin)) })
			bans := row("10.0.0.0", int(size))
			share := (len(bans) + runtime.NumCPU() - 1) / runtime.NumCPU()
			onEachCPU(t, func(cpu int) {
				for _, b := range bans[min(cpu*share, len(bans)):min((cpu+1)*share, len(bans))] {
					must(t, l.Ban(b))
				}
			})
			onEachCPU(t, func(int) { // renewals: an update of what is there evicts too, where the map is full
				must(t, l.Ban(bans...))
			})
			for range 3 {
				if err := l.Ban(hour("192.0.2.7/32")); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("bans is full, it holds %d", size)) {
					t.Fatalf("one too many: got %v", err)
				}
			}
			if gone := lost(t, l, bans); len(gone) != 0 {
				t.Errorf("%d of %d are not in the kernel", len(gone), size)
			}
			if c := compare(t, l); c.Repaired != 0 || c.Unknowns != 0 {
				t.Errorf("compared: %+v", c)
			}
			if room := l.Rooms()[0]; room.Used != int(size) || room.Max != int(size) || room.Size < 2*int(size) {
				t.Errorf("room: %+v", room)
			}
			_, err := l.Unban(bans[0].Prefix)
			must(t, err)
			must(t, l.Ban(hour("192.0.2.7/32")))
		})
	}
}

// Three maps' worth of new sources that logs lead to take as much room as there is and
// nobody's place. Who is out quietly stays out.
func TestASpraySparesQuietBans(t *testing.T) {
	l := open(t)
	quiet := row("192.0.2.0", 200)
	must(t, l.Ban(quiet...))
	taken := 0
	spray := row("10.0.0.0", 3*int(l.maps.Bans.MaxEntries()))
	for _, b := range spray {
		if l.Ban(b) == nil {
			taken++
		}
	}
	if want := int(l.settings.MaxBans) - len(quiet); taken != want {
		t.Errorf("%d of %d were taken, want %d", taken, len(spray), want)
	}
	if gone := lost(t, l, append(quiet, spray[:taken]...)); len(gone) != 0 {
		t.Errorf("%d are not in the kernel: %v", len(gone), gone)
	}
	if l.account.Len() != int(l.settings.MaxBans) {
		t.Errorf("%d bans, want %d", l.account.Len(), l.settings.MaxBans)
	}
}

// What the kernel evicts, because somebody else fills its map, is put back and counted, and
// those others are told of.
func TestEvictedBansArePutBack(t *testing.T) {
	l := open(t)
	quiet := row("192.0.2.0", 200)
	must(t, l.Ban(quiet...))
	var strange []found
	for _, b := range row("10.0.0.0", 3*int(l.maps.Bans.MaxEntries())) {
		now, err := l.clock.now()
		must(t, err)
		f := found{l.placeOf(&b), encode(b, now, 1, 0)}
		must(t, l.maps.Bans.Put(f.Addr, &f.value))
		strange = append(strange, f)
	}
	evicted := len(lost(t, l, quiet))
	if evicted == 0 {
		t.Fatal("nothing was evicted")
	}
	c := compare(t, l)
	if c.Evicted != evicted || c.Repaired != evicted {
		t.Errorf("%d were evicted, compared: %d and %d", evicted, c.Evicted, c.Repaired)
	}
	if c.Unknowns < int(l.settings.MaxBans) || len(c.Unknown) != UnknownAtMost {
		t.Errorf("%d unknown, %d of them named", c.Unknowns, len(c.Unknown))
	}
	for range 5 { // putting back may evict in its turn, as long as there is no room
		c = compare(t, l)
	}
	if gone := lost(t, l, quiet); len(gone) != 0 || c.Repaired != 0 {
		t.Errorf("%d are not in the kernel in the end, %d were put back last", len(gone), c.Repaired)
	}
	for _, f := range strange {
		l.maps.Bans.Delete(f.Addr) //nolint:errcheck // some have been evicted
	}
	if c := compare(t, l); c.Unknowns != 0 || c.Repaired != 0 {
		t.Errorf("without them: %+v", c)
	}
}

// Whatever is lost is put back, whatever is strange is named, and what packets did is noted.
func TestCompareMendsEveryTable(t *testing.T) {
	l := open(t)
	byLog, byHand, net := hour("192.0.2.1/32"), hour("192.0.2.2/32"), hour("198.51.100.0/24")
	byHand.Hand, net.Hand = true, true
	left := hour("192.0.2.3/32")
	left.End = time.Now().Add(time.Minute) // its packets prolong it
	must(t, l.Ban(byLog, byHand, net, left))
	if c := compare(t, l); c.Repaired != 0 || c.Unknowns != 0 || c.Returns != 0 {
		t.Errorf("as made: %+v", c)
	}
	for _, b := range []ban.Ban{byLog, byHand, net} {
		_, err := l.deleteFrom(l.placeOf(&b).table, []place{l.placeOf(&b)})
		must(t, err)
	}
	now, err := l.clock.now()
	must(t, err)
	strangers := []ban.Ban{hour("203.0.113.1/32"), hour("203.0.113.2/32"), hour("203.0.113.128/25")}
	strangers[1].Hand = true
	for _, b := range strangers {
		strange := encode(b, now, 9, 0)
		must(t, l.putOne(l.placeOf(&b), &strange))
	}
	if v := verdict(t, l, from("192.0.2.3")); v != Drop {
		t.Fatal(v)
	}
	c := compare(t, l)
	want := []netip.Prefix{strangers[0].Prefix, strangers[1].Prefix, strangers[2].Prefix}
	if c.Evicted != 1 || c.Repaired != 3 || c.Unknowns != 3 || !slices.Equal(c.Unknown, want) {
		t.Errorf("compared: %+v", c)
	}
	if c.Returns != 1 || len(c.Returned) != 1 || c.Returned[0].Prefix != left.Prefix {
		t.Errorf("who is back: %+v", c.Returned)
	}
	for _, b := range []ban.Ban{byLog, byHand, net} {
		r, ok, err := l.Find(b.Prefix)
		if !ok || err != nil || r.Prefix != b.Prefix || r.Hand != b.Hand || r.Jail != b.Jail || r.Reason != b.Reason || r.Quiet != b.Quiet || r.End.Sub(b.End).Abs() > 2*time.Second {
			t.Errorf("put back: got %+v, %v, %v, want %+v", r, ok, err, b)
		}
	}
	if b, _ := l.account.Get(left.Prefix); time.Until(b.End) < 59*time.Minute {
		t.Errorf("the end that packets moved is not noted: %v", b.End)
	}
	if c := compare(t, l); c.Repaired != 0 || c.Returns != 0 || c.Unknowns != 3 {
		t.Errorf("once more: %+v", c)
	}
}

// Bans that are made and ended between the turns of a comparison are neither put back nor
// strange.
func TestBansMayChangeDuringAComparison(t *testing.T) {
	l := open(t)
	bans := row("10.0.0.0", int(l.settings.MaxBans))
	half := len(bans) / 2
	must(t, l.Ban(bans[:half]...))
	turn := 0
	c, err := l.Compare(func(do func() error) error {
		if turn < half { // between turns, one goes and one comes
			_, err := l.Unban(bans[turn].Prefix)
			must(t, err)
			must(t, l.Ban(bans[half+turn]))
		}
		turn++
		return do()
	})
	if err != nil || c.Repaired != 0 || c.Unknowns != 0 {
		t.Errorf("compared in %d turns: %+v, %v", turn, c, err)
	}
	if turn < 3 {
		t.Errorf("it took %d turns: nothing could change between them", turn)
	}
}

// However many bans there are, a turn of a comparison looks at some of them only.
func TestComparisonTakesManyShortTurns(t *testing.T) {
	s := small(t, fmt.Sprintf("turns-%d", os.Getpid()))
	s.MaxBans = 1 << 15
	l := reopen(t, s)
	t.Cleanup(func() { must(t, Remove(s.Pin)) })
	must(t, l.Ban(row("10.0.0.0", int(s.MaxBans))...))
	n := 0
	_, err := l.Compare(turns(&n))
	must(t, err)
	if least := int(s.MaxBans)/checkAtMost + int(s.MaxBans)/visitAtMost; n < least {
		t.Errorf("%d turns for %d bans, want %d or more", n, s.MaxBans, least)
	}
	stop := errors.New("the daemon ends")
	if _, err := l.Compare(func(func() error) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("without a turn: %v", err)
	}
}

// Lists hold who is out all the while exactly once, whoever comes and goes meanwhile.
func TestListsHoldWhoStays(t *testing.T) {
	l := open(t)
	stay := row("192.0.2.0", 100)
	var nets []ban.Ban
	for i := range 50 {
		b := hour("192.0.2.0/32")
		b.Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(i), 0, 0}), 16)
		nets = append(nets, b)
	}
	for i := range stay {
		stay[i].Hand = i%2 == 0
	}
	stay = append(stay, nets...)
	must(t, l.Ban(stay...))

	listed := make(chan error)
	done := make(chan struct{})
	go func() {
		defer close(listed)
		for {
			select {
			case <-done:
				return
			default:
			}
			times := make(map[netip.Prefix]int)
			err := l.Each(func(r ban.Record) bool {
				if r.Jail != "sshd" || r.Reason == "" {
					times[netip.Prefix{}]++
				}
				times[r.Prefix]++
				return true
			})
			for _, b := range stay {
				if times[b.Prefix] != 1 {
					err = errors.Join(err, fmt.Errorf("%v is listed %d times", b.Prefix, times[b.Prefix]))
				}
			}
			if n := times[netip.Prefix{}]; n > 0 {
				err = errors.Join(err, fmt.Errorf("%d bans without their reason", n))
			}
			if err != nil {
				listed <- err
				return
			}
		}
	}()
	for round := range 100 {
		come := row("10.0.0.0", 300)
		for i := range come {
			come[i].Reason = fmt.Sprint("round ", round) // a label that no list knows yet
			if come[i].Hand = i%3 == 0; i%3 == 1 {
				come[i].Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(i), 128, 0}), 17)
			}
		}
		must(t, l.Ban(come...))
		for _, b := range come {
			_, err := l.Unban(b.Prefix)
			must(t, err)
		}
	}
	close(done)
	if err := <-listed; err != nil {
		t.Error(err)
	}
}

// Thousands that end in the same second are let go of some at a time.
func TestManyEndsTakeManySweeps(t *testing.T) {
	s := small(t, fmt.Sprintf("ends-%d", os.Getpid()))
	s.MaxBans = 5*sweepAtMost + 1
	l := reopen(t, s)
	t.Cleanup(func() { must(t, Remove(s.Pin)) })
	bans := row("10.0.0.0", int(s.MaxBans))
	for i := range bans {
		bans[i].End = time.Now().Add(-time.Millisecond)
	}
	last := hour("192.0.2.7/32")
	last.Hand = true
	must(t, l.Ban(append(bans, last)...))
	for !l.Due() {
		<-time.After(10 * time.Millisecond) // the second that ends are rounded up to
	}
	over := make(map[netip.Prefix]bool)
	sweeps := 0
	for ; l.Due(); sweeps++ {
		ended, missing, err := l.Sweep()
		if err != nil || len(missing) != 0 || len(ended) > sweepAtMost {
			t.Fatalf("sweep %d: %d ended, missing %v, %v", sweeps, len(ended), missing, err)
		}
		for _, r := range ended {
			over[r.Prefix] = true
		}
	}
	if len(over) != len(bans) || sweeps != 6 {
		t.Errorf("%d of %d ended in %d sweeps, want all in 6", len(over), len(bans), sweeps)
	}
	if records, err := l.Bans(); len(records) != 1 || err != nil || l.account.Len() != 1 {
		t.Errorf("left: %v, %v", records, err)
	}
	if gone := lost(t, l, bans); len(gone) != len(bans) {
		t.Errorf("%d are still in the kernel", len(bans)-len(gone))
	}
}

// A renewal can be undone, but for what packets have done.
func TestRestoredBansAreWhatTheyWere(t *testing.T) {
	l := open(t)
	was := hour("192.0.2.7/32")
	was.Quiet, was.Limit = time.Minute, time.Now().Add(5*time.Hour)
	must(t, l.Ban(was))
	verdict(t, l, from("192.0.2.7"))
	before, _, err := l.Find(was.Prefix)
	must(t, err)
	renewed := was
	renewed.Jail, renewed.Reason, renewed.Hand, renewed.End, renewed.Quiet, renewed.Limit = ban.ByHand, "", true, time.Now().Add(9*time.Hour), time.Hour, time.Time{}
	must(t, l.Ban(renewed))
	verdict(t, l, from("192.0.2.7"))
	must(t, l.Restore(was))
	after, ok, err := l.Find(was.Prefix)
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	near(t, "end", after.End, before.End)
	near(t, "limit", after.Limit, before.Limit)
	before.Packets = 2
	after.End, after.Limit, after.Since, after.Seen, after.Bytes, after.Refreshes = before.End, before.Limit, before.Since, before.Seen, before.Bytes, before.Refreshes
	if after != before {
		t.Errorf("got %+v, want %+v", after, before)
	}
	if r := l.Rooms(); r[0].Used != 1 || r[1].Used != 0 {
		t.Errorf("rooms: %+v", r)
	}
	if gone := lost(t, l, []ban.Ban{renewed}); len(gone) != 1 {
		t.Error("it is held by hand still")
	}
}

// Where the kernel has less room than we know of, nothing that is new stays.
func TestAFailedWriteIsTakenBack(t *testing.T) {
	l := open(t)
	now, err := l.clock.now()
	must(t, err)
	room := int(l.room(inHeld))
	for _, b := range row("10.0.0.0", room-10) { // somebody else's
		must(t, l.maps.Held.Put(l.placeOf(&b).Addr, encode(b, now, 1, 0)))
	}
	renewed := hour("192.0.2.1/32")
	must(t, l.Ban(renewed))
	bans := row("192.0.2.1", 100)
	for i := range bans {
		bans[i].Hand = true
	}
	for range 2 {
		if err := l.Ban(bans...); err == nil || !strings.Contains(err.Error(), "held is full") {
			t.Fatalf("got %v", err)
		}
	}
	if gone := lost(t, l, bans); len(gone) != len(bans) {
		t.Errorf("%d of %d stay", len(bans)-len(gone), len(bans))
	}
	if gone := lost(t, l, []ban.Ban{renewed}); len(gone) != 0 || l.account.Len() != 1 {
		t.Errorf("what was there before is lost: %v, %d bans", gone, l.account.Len())
	}
	if r := l.Rooms(); r[0].Used != 1 || r[1].Used != 0 {
		t.Errorf("rooms: %+v", r)
	}
	must(t, l.Ban(bans[:10]...))
}
