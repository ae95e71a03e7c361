package loader

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/asm"

	"xdpban/internal/ban"
	"xdpban/internal/lab"
)

// readings are what somebody reads at these moments, in ns, on a kernel with jiffies of that length
// that began at 7 ns and are counted late by as much.
func readings(scale, late uint64, moments ...uint64) []reading {
	var all []reading
	for _, ns := range moments {
		all = append(all, reading{(ns - 7 - late) / scale, ns})
	}
	return all
}

func every(step, n uint64) []uint64 {
	var moments []uint64
	for i := range n {
		moments = append(moments, 1_000_000_000+i*step)
	}
	return moments
}

func TestJiffiesAreMeasured(t *testing.T) {
	const ms = 1_000_000
	for _, test := range []struct {
		name     string
		readings []reading
		want     []uint64
	}{
		{"100 Hz", readings(10*ms, 0, every(500_000, 101)...), []uint64{10 * ms}},
		{"250 Hz", readings(4*ms, 0, every(500_000, 101)...), []uint64{4 * ms}},
		{"300 Hz", readings(3_333_333, 0, every(500_000, 101)...), []uint64{3_333_333}},
		{"1000 Hz", readings(ms, 0, every(500_000, 101)...), []uint64{ms}},
		{"1000 Hz, read twice on a busy machine", readings(ms, 0, every(100*ms, 2)...), []uint64{ms}},
		{"250 Hz, read twice on a busy machine", readings(4*ms, 0, every(100*ms, 2)...), []uint64{4 * ms}},
		{"250 Hz, counted late at times", append(readings(4*ms, 0, every(500_000, 60)...), readings(4*ms, 3*ms, every(1_500_000, 41)[20:]...)...), []uint64{4 * ms}},
		{"250 Hz, 20 ms at a time", readings(4*ms, 20*ms, every(20*ms, 5)...), []uint64{4 * ms}},
		{"250 Hz, in a guest that gets the CPU now and then", append(readings(4*ms, 0, every(500_000, 600)...), readings(4*ms, 35*ms, every(500_000, 2000)[600:]...)...), []uint64{4 * ms}},
		{"too soon to tell", readings(4*ms, 0, every(500_000, 9)...), []uint64{10 * ms, 4 * ms, 3_333_333}},
		{"a length that no kernel has", readings(6*ms, 0, every(500_000, 101)...), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []uint64
			span := test.readings[len(test.readings)-1].ns - test.readings[0].ns
			for _, f := range jiffies(test.readings, time.Duration(span)) {
				got = append(got, f.scale)
				if off := int64(f.offset-7) % int64(f.scale); len(test.want) == 1 && (off < 0 || off >= int64(f.scale)) {
					t.Errorf("jiffies of %d ns began %d ns late", f.scale, off)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

// hasCoarse reports whether programs may read the coarse clock: from 5.11 on.
func hasCoarse(t *testing.T) bool {
	t.Helper()
	lab.Require(t)
	reader, err := clockProgram(asm.FnKtimeGetCoarseNs)
	if err == nil {
		reader.Close()
		return true
	}
	if !strings.Contains(err.Error(), "invalid func unknown#160") {
		t.Fatal(err)
	}
	return false
}

// withoutJiffies names what this kernel has instead.
func withoutJiffies(t *testing.T) string {
	t.Helper()
	if hasCoarse(t) {
		return "coarse"
	}
	return "precise"
}

// A kernel without the cheapest clock has another, and bans end by that one.
func TestEveryClockEndsBans(t *testing.T) {
	for _, test := range []struct {
		want    string
		lacking []int32 // helpers
	}{
		{"jiffies of ", nil},
		{withoutJiffies(t), []int32{int32(asm.FnJiffies64)}},
		{"jiffies of ", []int32{int32(asm.FnKtimeGetCoarseNs), int32(asm.FnKtimeGetBootNs)}},
		{"precise", []int32{int32(asm.FnJiffies64), int32(asm.FnKtimeGetCoarseNs), int32(asm.FnKtimeGetBootNs)}},
	} {
		t.Run(fmt.Sprintf("%s without %d", test.want, test.lacking), func(t *testing.T) {
			w := newWire(t, 0)
			w.kernel = lab.WithoutHelpers(test.lacking...)
			l := w.enforce()
			if got := l.Clock(); !strings.HasPrefix(got, test.want) {
				t.Errorf("clock %q, want %q", got, test.want)
			}
			now := time.Now()
			must(t, l.Ban(ban.Ban{Prefix: netip.MustParsePrefix("192.0.2.7/32"), Since: now, End: now.Add(time.Second)}))
			w.want("192.0.2.7", Drop)
			for !w.passes("192.0.2.7") {
				if time.Since(now) > 5*time.Second {
					t.Fatal("the ban does not end")
				}
			}
			if held := time.Since(now); held < 900*time.Millisecond {
				t.Errorf("a ban of a second ended after %v", held)
			}
		})
	}
}

// The next Loader may find another clock than the one before: ends stay what they are.
func TestAnotherClockKeepsTheEnds(t *testing.T) {
	w := newWire(t, 0)
	unmoved := hour("192.0.2.7/32")
	unmoved.Quiet = 0
	l := w.enforce(unmoved)
	before, _, err := l.Find(netip.MustParsePrefix("192.0.2.7/32"))
	must(t, err)
	for _, lacking := range [][]int32{{int32(asm.FnJiffies64)}, {int32(asm.FnJiffies64), int32(asm.FnKtimeGetCoarseNs)}, nil} {
		must(t, l.Close())
		w.kernel = lab.WithoutHelpers(lacking...)
		l = w.open()
		after, _, err := l.Find(netip.MustParsePrefix("192.0.2.7/32"))
		must(t, err)
		near(t, "end by a clock that is "+l.Clock(), after.End, before.End)
		w.want("192.0.2.7", Drop)
	}
}

// Every kind of clock tells the same time, to the slowest tick there is.
func TestClocksAgree(t *testing.T) {
	lab.Require(t)
	precise, err := newNanoseconds(xdpbanClockCLOCK_KTIME, asm.FnKtimeGetNs)
	must(t, err)
	jiffies, err := newJiffies()
	must(t, err)
	clocks := []*clock{precise, jiffies}
	if hasCoarse(t) {
		coarse, err := newNanoseconds(xdpbanClockCLOCK_COARSE, asm.FnKtimeGetCoarseNs)
		must(t, err)
		clocks = append(clocks, coarse)
	}
	for _, c := range clocks {
		defer c.close()
		now, err := c.now()
		must(t, err)
		want, err := precise.now()
		must(t, err)
		if late := time.Duration(want.ns - now.ns); late < -time.Duration(c.scale)-time.Millisecond || late > 100*time.Millisecond {
			t.Errorf("%v is %v late", c, late)
		}
	}
}

func TestMoments(t *testing.T) {
	wall := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	m := moment{ns: uint64(time.Hour), wall: wall}
	for _, test := range []struct {
		name string
		t    time.Time
		want uint64
	}{
		{"now", wall, uint64(time.Hour)},
		{"later", wall.Add(time.Minute), uint64(time.Hour + time.Minute)},
		{"since boot", wall.Add(-time.Minute), uint64(time.Hour - time.Minute)},
		{"before boot", wall.Add(-2 * time.Hour), 0},
		{"never", time.Time{}, 0},
		{"in ten thousand years", wall.AddDate(10000, 0, 0), uint64(time.Hour) + 1<<63 - 1},
	} {
		if got := m.at(test.t); got != test.want {
			t.Errorf("%s: got %d, want %d", test.name, got, test.want)
		}
	}
	if got := m.time(uint64(2 * time.Hour)); !got.Equal(wall.Add(time.Hour)) {
		t.Errorf("time: got %v", got)
	}
}

// About is between two readings, but for a tick or some that a busy host counts late; what was asked
// too long ago is asked again.
func TestAboutIsNow(t *testing.T) {
	lab.Require(t)
	c, err := newClock()
	must(t, err)
	defer c.close()
	tick := c.scale + uint64(100*time.Millisecond)
	for i := range 1000 {
		if i == 500 {
			c.asked = moment{ns: 7, wall: time.Now().Add(-askEvery - time.Millisecond)}
		}
		before, err := c.now()
		must(t, err)
		about, err := c.about()
		must(t, err)
		after, err := c.now()
		must(t, err)
		if about.ns+tick < before.ns || about.ns > after.ns+tick || about.wall.Before(before.wall) || about.wall.After(after.wall) {
			t.Fatalf("about %+v, between %+v and %+v", about, before, after)
		}
	}
}
