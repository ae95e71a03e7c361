package source

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	nxadm "github.com/nxadm/tail"
)

// A tally checks that lines, which are numbered, come once each and in order.
type tally struct {
	mu                      sync.Mutex
	next, lost, again, junk int
}

func (y *tally) line(line []byte) {
	y.mu.Lock()
	defer y.mu.Unlock()
	number, rest, _ := bytes.Cut(line, []byte(" "))
	n, err := strconv.Atoi(string(number))
	switch {
	case err != nil || string(rest) != padding:
		y.junk++
	case n < y.next:
		y.again++
	default:
		y.lost += n - y.next
		y.next = n + 1
	}
}

// sum closes the account over `written` lines.
func (y *tally) sum(written int) (lost, again, junk int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.lost + written - y.next, y.again, y.junk
}

const padding = "sshd[4242]: Failed password for root from 192.0.2.7 port 4242 ssh2"

// A mill writes numbered lines at 50,000 a second into a log, and has it rotated now and then.
type mill struct {
	testing.TB
	path    string
	file    *os.File
	written int
	rounds  int
}

const (
	beat  = 2 * time.Millisecond
	batch = 100 // lines a beat
)

func newMill(tb testing.TB) *mill {
	m := &mill{TB: tb, path: filepath.Join(tb.TempDir(), "log")}
	m.open()
	return m
}

func (m *mill) open() {
	file, err := os.OpenFile(m.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		m.Fatal(err)
	}
	if m.file != nil {
		m.file.Close()
	}
	m.file = file
}

func (m *mill) write(lines int) {
	for range lines {
		if _, err := fmt.Fprintf(m.file, "%d %s\n", m.written, padding); err != nil {
			m.Fatal(err)
		}
		m.written++
	}
}

// run writes for d and calls rotate every 0.3 s.
func (m *mill) run(d time.Duration, rotate func()) {
	ticks := time.NewTicker(beat)
	defer ticks.Stop()
	end, turn := time.Now().Add(d), time.Now().Add(300*time.Millisecond)
	for now := range ticks.C {
		m.write(batch)
		if now.After(turn) {
			rotate()
			turn = turn.Add(300 * time.Millisecond)
		}
		if now.After(end) {
			break
		}
	}
	m.write(batch)
	m.file.Close()
}

// rename rotates as logrotate does: the writer hears of it some lines later.
func (m *mill) rename() {
	m.rounds++
	if err := os.Rename(m.path, fmt.Sprint(m.path, ".", m.rounds)); err != nil {
		m.Fatal(err)
	}
	m.write(batch / 2)
	m.open()
}

// renameBefore rotates when f has noticed the rotation before: a file that comes and goes between two looks is
// seen by nobody, and on a busy machine those are far apart.
func (m *mill) renameBefore(f *Follower) {
	for f.Status()[0].Rotations < uint64(m.rounds) {
		pause(time.Millisecond)
	}
	m.rename()
}

// follow runs a follower on the mill's log, until the function that it returns is called.
func (m *mill) follow(y *tally) (*Follower, func()) {
	f := NewFollower(Options{Log: slog.New(slog.DiscardHandler)})
	if err := f.Watch([]string{m.path}, func(string) Handler { return func(line []byte, _ bool, _ time.Time) { y.line(line) } }); err != nil {
		m.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { f.Run(ctx) })
	return f, func() { cancel(); wg.Wait() }
}

// yardstick follows the same log with nxadm/tail, as one would with its options.
func (m *mill) yardstick(y *tally) func() {
	other, err := nxadm.TailFile(m.path, nxadm.Config{
		Follow: true, ReOpen: true, CompleteLines: true, Logger: nxadm.DiscardingLogger,
	})
	if err != nil {
		m.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for line := range other.Lines {
			y.line([]byte(line.Text))
		}
	})
	return func() { other.Stop(); other.Cleanup(); wg.Wait() }
}

// settle waits for the last of the lines that were written.
func (y *tally) settle(written int) {
	for bound := time.Now().Add(5 * time.Second); !y.reached(written) && time.Now().Before(bound); {
		pause(time.Millisecond)
	}
}

func (y *tally) reached(line int) bool {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.next >= line
}

func span() time.Duration {
	if testing.Short() {
		return time.Second
	}
	return 4 * time.Second
}

func TestNothingIsLostOrDoubledUnderRenameRotation(t *testing.T) {
	m := newMill(t)
	var ours, theirs tally
	f, stop := m.follow(&ours)
	stopTheirs := m.yardstick(&theirs)
	m.run(span(), func() { m.renameBefore(f) })
	ours.settle(m.written)
	status := f.Status()
	stop()
	stopTheirs()
	lost, again, junk := ours.sum(m.written)
	if lost+again+junk > 0 {
		t.Errorf("%d lines over %d rotations: %d lost, %d doubled, %d torn", m.written, m.rounds, lost, again, junk)
	}
	if len(status) != 1 || status[0].Rotations != uint64(m.rounds) || status[0].Lag != 0 || status[0].Polling != "" {
		t.Errorf("status %+v, want %d rotations and no lag", status, m.rounds)
	}
	lost, again, junk = theirs.sum(m.written)
	t.Logf("%d lines over %d rotations; nxadm/tail: %d lost, %d doubled, %d torn", m.written, m.rounds, lost, again, junk)
}

func TestNothingIsLostOrDoubledWhileWatchIsCalledAgain(t *testing.T) {
	m := newMill(t)
	var ours tally
	f, stop := m.follow(&ours)
	defer stop()
	for round := range 300 {
		m.write(1 + round%50)
		patterns := []string{m.path, m.path + ".missing", filepath.Dir(m.path) + "/*"}[:1+round%3]
		if err := f.Watch(patterns, func(string) Handler { return func(line []byte, _ bool, _ time.Time) { ours.line(line) } }); err != nil {
			t.Fatal(err)
		}
	}
	m.file.Close()
	ours.settle(m.written)
	if lost, again, junk := ours.sum(m.written); lost+again+junk > 0 {
		t.Errorf("%d lines: %d lost, %d doubled, %d torn", m.written, lost, again, junk)
	}
}

// Where the writer waits for the reader before the file is truncated, nothing may be missing.
func TestNothingIsLostUnderCopytruncateInStep(t *testing.T) {
	m := newMill(t)
	var ours tally
	_, stop := m.follow(&ours)
	for round := range 300 {
		m.write(1 + round*7%400)
		ours.settle(m.written)
		if err := os.Truncate(m.path, 0); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	m.file.Close()
	if lost, again, junk := ours.sum(m.written); lost+again+junk > 0 {
		t.Errorf("%d lines: %d lost, %d doubled, %d torn", m.written, lost, again, junk)
	}
}

// Where nobody waits, what was written since the last look is lost to everyone; but nothing
// comes twice or in pieces.
func TestNothingIsDoubledUnderCopytruncate(t *testing.T) {
	m := newMill(t)
	var ours, theirs tally
	_, stop := m.follow(&ours)
	stopTheirs := m.yardstick(&theirs)
	m.run(span()/2, func() {
		if err := os.Truncate(m.path, 0); err != nil {
			t.Fatal(err)
		}
	})
	ours.settle(m.written)
	stop()
	stopTheirs()
	lost, again, junk := ours.sum(m.written)
	if again+junk > 0 || lost == m.written {
		t.Errorf("%d lines: %d lost, %d doubled, %d torn", m.written, lost, again, junk)
	}
	theirLost, theirAgain, theirJunk := theirs.sum(m.written)
	t.Logf("%d lines, %d lost; nxadm/tail: %d lost, %d doubled, %d torn", m.written, lost, theirLost, theirAgain, theirJunk)
}
