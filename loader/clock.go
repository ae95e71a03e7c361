package loader

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// A clock is the one that the kernel program reads. Every kind tells nanoseconds of
// CLOCK_MONOTONIC as the kernel counts them; a time namespace shows processes another
// CLOCK_MONOTONIC, so it is read by running a program.
type clock struct {
	kind   xdpbanClock
	scale  uint64        // ns a jiffy; 1 for clocks that count ns
	offset uint64        // ns at jiffy 0, modulo 1<<64
	reader *ebpf.Program // see clockProgram
	asked  moment        // what about was told last
}

// A moment is the same instant on the kernel program's clock and on the wall.
type moment struct {
	ns   uint64
	wall time.Time
}

const (
	tickSpan   = 50 * time.Millisecond // over which jiffies are compared with the clock at least
	tickWait   = time.Second           // and at most
	tickPause  = time.Millisecond / 2  // between two readings
	askEvery   = time.Second           // about goes by the process's own clock for so long
	clockBytes = 16
)

// tickRates are the values of CONFIG_HZ.
var tickRates = []uint64{100, 250, 300, 1000}

// newClock takes the cheapest clock that this kernel offers to XDP programs. A drop reads
// it once: jiffies cost 2 ns, the coarse clock 18, the precise one 38.
func newClock() (*clock, error) {
	if c, err := newJiffies(); err == nil {
		return c, nil
	}
	if c, err := newNanoseconds(xdpbanClockCLOCK_COARSE, asm.FnKtimeGetCoarseNs); err == nil {
		return c, nil
	}
	return newNanoseconds(xdpbanClockCLOCK_KTIME, asm.FnKtimeGetNs)
}

func newNanoseconds(kind xdpbanClock, read asm.BuiltinFunc) (*clock, error) {
	reader, err := clockProgram(read)
	if err != nil {
		return nil, err
	}
	return &clock{kind: kind, scale: 1, reader: reader}, nil
}

// newJiffies finds out how long a jiffy is and when they began.
func newJiffies() (*clock, error) {
	reader, err := clockProgram(asm.FnJiffies64)
	if err != nil {
		return nil, err
	}
	c := &clock{kind: xdpbanClockCLOCK_JIFFIES, reader: reader}
	if err := c.calibrate(); err != nil {
		reader.Close()
		return nil, err
	}
	return c, nil
}

// calibrate reads for as long as it takes. It does not wait for ticks: on a busy machine
// they are when others get the CPU.
func (c *clock) calibrate() error {
	for readings := []reading{}; ; time.Sleep(tickPause) {
		raw, ns, err := c.sample()
		if err != nil {
			return err
		}
		readings = append(readings, reading{raw, ns})
		span := time.Duration(ns - readings[0].ns)
		if span < tickSpan {
			continue
		}
		fits := jiffies(readings, span)
		if len(fits) == 1 {
			c.scale, c.offset = fits[0].scale, fits[0].offset
			return nil
		}
		if span > tickWait {
			return fmt.Errorf("measure jiffies: %d of the lengths that kernels have fit what was read in %v", len(fits), span)
		}
	}
}

// A reading is a number of jiffies, and CLOCK_MONOTONIC right after.
type reading struct{ jiffies, ns uint64 }

// A fit is a length of a jiffy, and when they began, modulo 1<<64.
type fit struct{ scale, offset uint64 }

// jiffies finds the lengths that the readings of that span may have. With the right one all say
// that they began within one jiffy. A second one and some of the span are for ticks that are
// counted late, as in a guest whose host is busy; with a wrong length they differ by a sixth of
// the span at least.
func jiffies(readings []reading, span time.Duration) []fit {
	var fits []fit
	for _, rate := range tickRates {
		scale := (uint64(time.Second) + rate/2) / rate // TICK_NSEC
		first := readings[0].ns - readings[0].jiffies*scale
		var earliest, latest int64
		for _, r := range readings {
			later := int64(r.ns - r.jiffies*scale - first)
			earliest, latest = min(earliest, later), max(latest, later)
		}
		if latest-earliest < int64(2*scale)+int64(span/32) {
			fits = append(fits, fit{scale, first + uint64(earliest)})
		}
	}
	return fits
}

// sample reads the clock as it counts, and CLOCK_MONOTONIC right after it.
func (c *clock) sample() (raw, ns uint64, err error) {
	out := make([]byte, clockBytes)
	if _, err := c.reader.Run(&ebpf.RunOptions{Data: make([]byte, clockBytes), DataOut: out, Repeat: 1}); err != nil {
		return 0, 0, fmt.Errorf("read the kernel's clock: %w", err)
	}
	return binary.NativeEndian.Uint64(out), binary.NativeEndian.Uint64(out[8:]), nil
}

// now reads the clock as the kernel program does.
func (c *clock) now() (moment, error) {
	raw, _, err := c.sample()
	if err != nil {
		return moment{}, err
	}
	return moment{ns: raw*c.scale + c.offset, wall: time.Now()}, nil
}

// about is now, as near as a tick: it asks the kernel once a second, and else goes by the time
// that has passed since. One goroutine may call it.
func (c *clock) about() (moment, error) {
	wall := time.Now()
	passed := wall.Sub(c.asked.wall) // by CLOCK_MONOTONIC, whatever becomes of the wall's
	if c.asked.wall.IsZero() || passed > askEvery {
		var err error
		c.asked, err = c.now()
		return c.asked, err
	}
	return moment{ns: c.asked.ns + uint64(passed), wall: wall}, nil
}

// String names the clock.
func (c *clock) String() string {
	switch c.kind {
	case xdpbanClockCLOCK_JIFFIES:
		return fmt.Sprintf("jiffies of %v", time.Duration(c.scale))
	case xdpbanClockCLOCK_COARSE:
		return "coarse"
	}
	return "precise"
}

func (c *clock) close() error {
	if c == nil {
		return nil
	}
	return c.reader.Close()
}

// clockProgram writes what read returns and CLOCK_MONOTONIC into its packet.
func clockProgram(read asm.BuiltinFunc) (*ebpf.Program, error) {
	const data, dataEnd = 0, 4 // offsets in struct xdp_md
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "xdpban_clock",
		Type: ebpf.XDP,
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R6, asm.R1, data, asm.Word),
			asm.LoadMem(asm.R2, asm.R1, dataEnd, asm.Word),
			asm.Mov.Imm(asm.R0, int32(Pass)),
			asm.Mov.Reg(asm.R3, asm.R6),
			asm.Add.Imm(asm.R3, clockBytes),
			asm.JGT.Reg(asm.R3, asm.R2, "out"),
			read.Call(),
			asm.StoreMem(asm.R6, 0, asm.R0, asm.DWord),
			asm.FnKtimeGetNs.Call(),
			asm.StoreMem(asm.R6, 8, asm.R0, asm.DWord),
			asm.Mov.Imm(asm.R0, int32(Pass)),
			asm.Return().WithSymbol("out"),
		},
		License: "Dual MIT/GPL",
	})
	if err != nil {
		return nil, fmt.Errorf("load the program that reads the kernel's clock: %w", err)
	}
	return prog, nil
}

// alone has program read no other clock than c. Kernels before 5.5 verify branches that
// constants exclude, and may lack what is called there.
func (c *clock) alone(program asm.Instructions) {
	own := map[xdpbanClock]asm.BuiltinFunc{
		xdpbanClockCLOCK_JIFFIES: asm.FnJiffies64, xdpbanClockCLOCK_COARSE: asm.FnKtimeGetCoarseNs,
	}[c.kind]
	for i := range program {
		if !program[i].IsBuiltinCall() {
			continue
		}
		switch read := asm.BuiltinFunc(program[i].Constant); read {
		case asm.FnJiffies64, asm.FnKtimeGetCoarseNs:
			if read != own {
				program[i].Constant = int64(asm.FnKtimeGetNs)
			}
		}
	}
}

// at is t on the kernel program's clock, as near as that can tell it.
func (m moment) at(t time.Time) uint64 {
	d := t.Sub(m.wall)
	if d < 0 && uint64(-d) > m.ns {
		return 0
	}
	return m.ns + uint64(d)
}

// time is ns on the wall, to the millisecond: more would differ from one reading to the next.
func (m moment) time(ns uint64) time.Time {
	return m.wall.Add(time.Duration(ns - m.ns)).Round(time.Millisecond)
}
