package source

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	nxadm "github.com/nxadm/tail"

	"xdpban/internal/lab"
)

const benchLines = 2_000_000

// BenchmarkLines reads one file of short lines in three ways, in turns: as a plain read loop on
// byte slices does (the floor), as the follower does, and, a tenth of it, as nxadm/tail does.
func BenchmarkLines(b *testing.B) {
	dir := b.TempDir()
	short, path := filepath.Join(dir, "short"), filepath.Join(dir, "log")
	line := padding[:48] + "\n"
	write(b, short, os.O_CREATE, strings.Repeat(line, benchLines/10))
	write(b, path, os.O_CREATE, strings.Repeat(line, benchLines))
	var floor, ours, theirs time.Duration
	for b.Loop() {
		floor += timed(func() { plainLoop(b, path) })
		ours += timed(func() { followOnce(b, path) })
		theirs += 10 * timed(func() { nxadmOnce(b, short) })
	}
	lines := float64(b.N) * benchLines
	b.ReportMetric(lines/ours.Seconds()/1e6, "Mlines/s")
	b.ReportMetric(lines/floor.Seconds()/1e6, "floor-Mlines/s")
	b.ReportMetric(ours.Seconds()/floor.Seconds(), "x-floor-time")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "x-nxadm-rate")
}

func timed(do func()) time.Duration {
	began := time.Now()
	do()
	return time.Since(began)
}

func plainLoop(b *testing.B, path string) {
	file, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	buf := make([]byte, bufferSize)
	lines, kept := 0, 0
	for {
		n, err := file.Read(buf[kept:])
		data := buf[:kept+n]
		for end := bytes.IndexByte(data, '\n'); end >= 0; end = bytes.IndexByte(data, '\n') {
			lines++
			data = data[end+1:]
		}
		kept = copy(buf, data)
		if err != nil {
			break
		}
	}
	if lines != benchLines {
		b.Fatalf("%d lines", lines)
	}
}

// followOnce has a follower read the whole file, which appears after Watch.
func followOnce(b *testing.B, path string) {
	link := path + ".link"
	f := NewFollower(Options{Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	lines := 0
	err := f.Watch([]string{link}, func(string) Handler {
		return func([]byte, bool, time.Time) {
			if lines++; lines == benchLines {
				cancel()
			}
		}
	})
	if err == nil {
		err = os.Symlink(path, link)
	}
	if err != nil {
		b.Fatal(err)
	}
	defer os.Remove(link)
	f.Run(ctx)
	if lines != benchLines {
		b.Fatalf("%d lines", lines)
	}
}

func nxadmOnce(b *testing.B, path string) {
	other, err := nxadm.TailFile(path, nxadm.Config{CompleteLines: true, Logger: nxadm.DiscardingLogger})
	if err != nil {
		b.Fatal(err)
	}
	lines := 0
	for range other.Lines {
		lines++
	}
	if lines != benchLines/10 {
		b.Fatalf("%d lines", lines)
	}
}

// BenchmarkRotation reports what is lost, doubled or torn of 50,000 lines a second while the log
// is renamed three times a second.
func BenchmarkRotation(b *testing.B) {
	for b.Loop() {
		m := newMill(b)
		var ours, theirs tally
		_, stop := m.follow(&ours)
		stopTheirs := m.yardstick(&theirs)
		m.run(span(), m.rename)
		ours.settle(m.written)
		stop()
		stopTheirs()
		for name, y := range map[string]*tally{"wrong": &ours, "nxadm-wrong": &theirs} {
			lost, again, junk := y.sum(m.written)
			b.ReportMetric(float64(lost+again+junk), name)
		}
		b.ReportMetric(float64(m.written), "lines")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkWakeUp measures from before write(2) to the handler, one line every 2 ms.
func BenchmarkWakeUp(b *testing.B) {
	path := filepath.Join(b.TempDir(), "log")
	write(b, path, os.O_CREATE, "")
	came := make(chan time.Time, 1)
	stop := followFor(b, path, func() { came <- time.Now() })
	defer stop()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	var took []time.Duration
	for b.Loop() {
		pause(2 * time.Millisecond)
		wrote := time.Now()
		file.WriteString(padding + "\n")
		took = append(took, (<-came).Sub(wrote))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}

// BenchmarkBusyLog writes 50,000 lines a second, each by a write(2) of its own, and reports the
// CPU time of the whole process a line against that of the writer alone.
func BenchmarkBusyLog(b *testing.B) {
	path := filepath.Join(b.TempDir(), "log")
	write(b, path, os.O_CREATE, "")
	var alone, followed time.Duration
	for b.Loop() {
		alone += burst(b, path)
		stop := followFor(b, path, func() {})
		followed += burst(b, path)
		stop()
	}
	lines := float64(b.N) * burstLines
	b.ReportMetric(float64((followed-alone).Nanoseconds())/lines, "cpu-ns/line")
	b.ReportMetric(float64(alone.Nanoseconds())/lines, "writer-cpu-ns/line")
}

const burstLines = 25_000

// burst writes for half a second and returns the CPU time that went by.
func burst(b *testing.B, path string) time.Duration {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	before := lab.ProcessTime(b)
	began := time.Now()
	for i := range burstLines {
		file.WriteString(padding + "\n")
		if due := began.Add(time.Duration(i) * 20 * time.Microsecond); i%5 == 0 {
			pause(time.Until(due))
		}
	}
	return lab.ProcessTime(b) - before
}

func followFor(b *testing.B, path string, line func()) (stop func()) {
	f := NewFollower(Options{Log: slog.New(slog.DiscardHandler)})
	err := f.Watch([]string{path}, func(string) Handler { return func([]byte, bool, time.Time) { line() } })
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { f.Run(ctx) })
	return func() { cancel(); wg.Wait() }
}
