package loader

import (
	"testing"
	"time"

	"github.com/cilium/ebpf/asm"

	"xdpban/internal/lab"
)

func TestNsPerJiffy(t *testing.T) {
	for _, test := range []struct {
		name        string
		ns, jiffies uint64
		want        uint64 // 0: an error
	}{
		{"100 Hz", 30_100_000, 3, 10_000_000},
		{"250 Hz", 32_000_900, 8, 4_000_000},
		{"300 Hz", 33_333_000, 10, 3_333_333},
		{"1000 Hz", 30_000_000, 30, 1_000_000},
		{"between two", 30_000_000, 12, 0},
		{"3 % off", 32_000_000 * 103 / 100, 8, 0},
		{"no tick", 30_000_000, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := nsPerJiffy(test.ns, test.jiffies)
			if got != test.want || (err != nil) != (test.want == 0) {
				t.Errorf("got %d, %v, want %d", got, err, test.want)
			}
		})
	}
}

// Every kind of clock tells the same time, to the slowest tick there is.
func TestClocksAgree(t *testing.T) {
	lab.Require(t)
	coarse, err := newNanoseconds(xdpbanClockCLOCK_COARSE, asm.FnKtimeGetCoarseNs)
	must(t, err)
	precise, err := newNanoseconds(xdpbanClockCLOCK_KTIME, asm.FnKtimeGetNs)
	must(t, err)
	jiffies, err := newJiffies()
	must(t, err)
	for _, c := range []*clock{coarse, precise, jiffies} {
		defer c.close()
		now, err := c.now()
		must(t, err)
		want, err := precise.now()
		must(t, err)
		if late := time.Duration(want.ns - now.ns); late < -time.Millisecond || late > 100*time.Millisecond {
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
