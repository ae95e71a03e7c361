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

	"golang.org/x/sys/unix"
)

// A rig follows files in a directory of its own: either by Run, or step by step with the time
// handed in. The hazards below are played both ways.
type rig struct {
	*testing.T
	dir   string
	f     *Follower
	steps bool // no Run: the test does its work
	now   time.Time
	lines chan string
	log   bytes.Buffer
	stop  func()
}

func newRig(t *testing.T, steps bool) *rig {
	r := &rig{T: t, dir: t.TempDir(), steps: steps, now: time.Unix(1e9, 0), lines: make(chan string, 10_000)}
	r.f = NewFollower(Options{
		MaxLine: deskMax,
		Poll:    time.Hour, // whatever Run sees, inotify told
		Log:     slog.New(slog.NewTextHandler(&r.log, nil)),
	})
	r.stop = sync.OnceFunc(r.run())
	t.Cleanup(r.stop)
	return r
}

// run starts Run, unless the rig goes by steps; the function it returns ends it.
func (r *rig) run() func() {
	if r.steps {
		return func() {
			r.f.closeQueue() // a user may have 128 of them
			r.f.running.Wait()
			for _, s := range r.f.streams {
				s.close()
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.f.Run(ctx); err != nil {
			r.Error(err)
		}
	})
	return func() { cancel(); wg.Wait() }
}

func (r *rig) path(name string) string { return filepath.Join(r.dir, name) }

func (r *rig) watch(names ...string) {
	r.Helper()
	var patterns []string
	for _, name := range names {
		patterns = append(patterns, r.path(name))
	}
	err := r.f.Watch(patterns, func(string) Handler {
		return func(line []byte, _ bool, _ time.Time) { r.lines <- string(line) }
	})
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) write(name, content string) {
	r.Helper()
	write(r, r.path(name), os.O_CREATE, content)
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) rename(from, to string) { r.Helper(); r.must(os.Rename(r.path(from), r.path(to))) }
func (r *rig) remove(name string)     { r.Helper(); r.must(os.Remove(r.path(name))) }
func (r *rig) mkdir(name string)      { r.Helper(); r.must(os.Mkdir(r.path(name), 0o700)) }
func (r *rig) truncate(name string)   { r.Helper(); r.must(os.Truncate(r.path(name), 0)) }

// link puts a symbolic link in place of whatever is there.
func (r *rig) link(target, name string) {
	r.Helper()
	r.must(os.Symlink(target, r.path("new")))
	r.rename("new", name)
}

// step does what Run would do by now.
func (r *rig) step() {
	for range 3 { // a file that passes from one path to another takes a scan more
		r.f.rescan(r.now)
		for _, s := range r.f.streams {
			s.step(context.Background(), r.now)
		}
	}
}

// wants waits for lines, in any order: different files are read in parallel.
func (r *rig) wants(want ...string) {
	r.Helper()
	if r.steps {
		r.step()
	}
	var got []string
	bound := time.After(10 * time.Second)
	for len(got) < len(want) {
		select {
		case line := <-r.lines:
			got = append(got, line)
		case <-bound:
			r.Fatalf("lines %q, want %q\nlog: %s", got, want, r.logged())
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		r.Fatalf("lines %q, want %q", got, want)
	}
}

// logged ends Run, so that the log is complete.
func (r *rig) logged() string {
	r.stop()
	return r.log.String()
}

// done ends Run and finds no line that was not wanted.
func (r *rig) done() {
	r.Helper()
	if r.steps {
		r.step()
	}
	r.stop()
	for len(r.lines) > 0 {
		r.Errorf("line %q is one too many", <-r.lines)
	}
}

// However far behind, everything is read unless the follower was told otherwise.
func TestTooFarBehindGoesOnAtTheEnd(t *testing.T) {
	const backlog = 200
	for _, test := range []struct {
		name    string
		maxLag  int64
		lines   int
		skipped uint64
	}{
		{"no limit", 0, backlog + 1, 0},
		{"as much as may be", 2 * backlog, backlog + 1, 0},
		{"too much", 2*backlog - 1, 1, 2 * backlog},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, true)
			r.f.opts.MaxLag = test.maxLag
			r.write("log", "before\n")
			r.watch("log")
			r.write("log", strings.Repeat("x\n", backlog))
			r.step()
			r.write("log", "after\n")
			r.step()
			status := r.f.Status()[0]
			if status.Lines != uint64(test.lines) || status.Skipped != test.skipped || status.Lag != 0 {
				t.Errorf("%d lines, %d bytes skipped, %d behind; want %d, %d, 0", status.Lines, status.Skipped, status.Lag, test.lines, test.skipped)
			}
			if said := strings.Contains(r.logged(), "log is too far behind"); said != (test.skipped > 0) {
				t.Errorf("log: %s", r.log.String())
			}
		})
	}
}

func TestHazardsOfFollowing(t *testing.T) {
	hazards := []struct {
		name string
		play func(*rig)
	}{
		{"lines are appended", func(r *rig) {
			r.write("log", "before\n")
			r.watch("log")
			r.write("log", "a\nb\n")
			r.wants("a", "b")
			r.write("log", "c\n")
			r.wants("c")
		}},
		{"renamed, written to, created anew", func(r *rig) {
			r.write("log", "before\n")
			r.watch("log")
			r.write("log", "a\n")
			r.rename("log", "log.1")
			r.write("log.1", "b\n")
			r.wants("a", "b")
			r.write("log.1", "c\n")
			r.write("log", "d\n")
			r.wants("c", "d")
			r.write("log.1", "late\n")
			r.write("log", "e\n")
			r.wants("late", "e")
		}},
		{"rotated twice before anyone looks", func(r *rig) {
			r.write("log", "")
			r.watch("log")
			for _, line := range []string{"a", "b"} {
				r.write("log", line+"\n")
				r.wants(line)
				r.rename("log", "log."+line)
			}
			r.write("log", "c\n")
			r.wants("c")
		}},
		{"copied and truncated", func(r *rig) {
			r.write("log", "")
			r.watch("log")
			r.write("log", "first\nsecond\n")
			r.wants("first", "second")
			r.truncate("log")
			r.write("log", "third, and longer than both\n")
			r.wants("third, and longer than both")
		}},
		{"truncated under a writer that keeps its offset", func(r *rig) {
			r.write("log", "")
			r.watch("log")
			writer, err := os.OpenFile(r.path("log"), os.O_WRONLY, 0)
			r.must(err)
			defer writer.Close()
			writer.WriteString("first\n")
			r.wants("first")
			r.truncate("log")
			writer.WriteString("second\n")
			r.wants("second")
		}},
		{"deleted and created late", func(r *rig) {
			r.write("log", "before\n")
			r.watch("log")
			r.write("log", "a\n")
			r.wants("a")
			r.remove("log")
			r.write("log", "b\n")
			r.wants("b")
		}},
		{"missing at first", func(r *rig) {
			r.watch("log")
			r.write("log", "a\n")
			r.wants("a")
		}},
		{"in a directory that is missing at first", func(r *rig) {
			r.watch("var/log/log")
			r.mkdir("var")
			r.mkdir("var/log")
			r.write("var/log/log", "a\n")
			r.wants("a")
		}},
		{"in a directory that is moved away and made anew", func(r *rig) {
			r.mkdir("var")
			r.write("var/log", "")
			r.watch("var/log")
			r.write("var/log", "a\n")
			r.wants("a")
			r.rename("var", "var.old")
			r.mkdir("var")
			r.write("var/log", "b\n")
			r.wants("b")
		}},
		{"behind a link that is swapped and swapped back", func(r *rig) {
			r.write("a.log", "before\n")
			r.link("a.log", "log")
			r.watch("log")
			r.write("a.log", "a\n")
			r.wants("a")
			r.write("b.log", "b\n")
			r.link("b.log", "log")
			r.wants("b")
			r.link("a.log", "log")
			r.write("a.log", "c\n")
			r.wants("c")
		}},
		{"behind a link in a parent directory that is swapped", func(r *rig) {
			r.mkdir("v1")
			r.mkdir("v2")
			r.write("v1/log", "before\n")
			r.link("v1", "now")
			r.watch("now/log")
			r.write("v1/log", "a\n")
			r.wants("a")
			r.write("v2/log", "b\n")
			r.link("v2", "now")
			r.wants("b")
		}},
		{"new file for a glob", func(r *rig) {
			r.write("a.log", "before\n")
			r.watch("*.log")
			r.write("a.log", "a\n")
			r.write("b.log", "b\n")
			r.write("c.txt", "c\n")
			r.wants("a", "b")
		}},
		{"new directory for a glob", func(r *rig) {
			r.watch("*/log")
			r.mkdir("site")
			r.write("site/log", "a\n")
			r.wants("a")
		}},
		{"rotated to a name that the glob matches too", func(r *rig) {
			r.write("log", "before\n")
			r.watch("log*")
			r.write("log", "a\n")
			r.wants("a")
			r.rename("log", "log.1")
			r.write("log.1", "b\n")
			r.write("log", "c\n")
			r.wants("b", "c")
			r.rename("log.1", "log.2")
			r.rename("log", "log.1")
			r.write("log.2", "d\n")
			r.write("log.1", "e\n")
			r.write("log", "f\n")
			r.wants("d", "e", "f")
		}},
		{"reached by two patterns, a link and a hard link", func(r *rig) {
			r.write("log", "before\n")
			r.link("log", "soft")
			r.must(os.Link(r.path("log"), r.path("hard")))
			r.watch("log", "l*", "soft", "hard")
			r.write("log", "a\n")
			r.wants("a")
		}},
		{"half a line", func(r *rig) {
			r.write("log", "")
			r.watch("log")
			r.write("log", "a\nfrom 192.0.2.1")
			r.wants("a")
			r.write("log", "7\n")
			r.wants("from 192.0.2.17")
		}},
		{"not text", func(r *rig) {
			r.write("log", "")
			r.watch("log")
			r.write("log", "\xff\xfe\r\n"+strings.Repeat("x", 1<<20)+"\n\x00\x00a\n")
			r.wants("\xff\xfe", "a")
		}},
		{"a directory, a pipe, then a file", func(r *rig) {
			r.mkdir("log")
			r.watch("log")
			r.remove("log")
			r.must(unix.Mkfifo(r.path("log"), 0o600))
			if r.steps {
				r.step()
			}
			r.remove("log")
			r.write("log", "a\n")
			r.wants("a")
		}},
		{"watched again", func(r *rig) {
			r.write("log", "before\n")
			r.write("more", "before\n")
			r.watch("log")
			r.write("log", "a\n")
			r.wants("a")
			r.write("log", "b\n")
			r.watch("log", "more")
			r.write("more", "c\n")
			r.wants("b", "c")
			r.watch("more")
			r.write("more", "d\n")
			r.wants("d")
			r.write("log", "e\n")
			r.watch("more", "log")
			r.wants("e")
		}},
		{"renamed away and back", func(r *rig) {
			r.write("log", "")
			r.watch("log")
			r.write("log", "a\n")
			r.rename("log", "aside")
			r.write("log", "b\n")
			r.wants("a", "b")
			r.rename("aside", "log")
			r.write("log", "c\n")
			r.wants("c")
		}},
	}
	for _, hazard := range hazards {
		for mode, steps := range map[string]bool{"by steps": true, "by Run": false} {
			t.Run(hazard.name+"/"+mode, func(t *testing.T) {
				r := newRig(t, steps)
				hazard.play(r)
				r.done()
			})
		}
	}
}

// More files than may be open wait, and what was written to them meanwhile is read when others have gone.
func TestFilesBeyondTheLimitWait(t *testing.T) {
	r := newRig(t, true)
	r.f.opts.MaxFiles = 2
	for _, name := range []string{"a.log", "b.log", "c.log"} {
		r.write(name, "before\n")
	}
	r.watch("*.log")
	r.write("a.log", "a\n")
	r.write("b.log", "b\n")
	r.write("c.log", "c\n")
	r.wants("a", "b")
	waits := r.f.Status()[2]
	if want := "open " + r.path("c.log") + ": 2 log files are open, which is as many as can be: raise the limit of open files (systemd: LimitNOFILE)"; waits.Error != want {
		t.Errorf("got %q, want %q", waits.Error, want)
	}
	r.remove("a.log")
	r.step()
	r.now = r.now.Add(r.f.opts.Linger)
	r.wants("c")
	r.done()
}

// The rest of the process has descriptors whatever the limit is.
func TestDescriptorsAreLeftToOthers(t *testing.T) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &before) }) //nolint:errcheck // it was so
	for limit, want := range map[uint64]int{200: 100, 512: 256, 1024: 768} {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: before.Max}); err != nil {
			t.Fatal(err)
		}
		if got := NewFollower(Options{}).opts.MaxFiles; got != want {
			t.Errorf("of %d descriptors logs have %d, want %d", limit, got, want)
		}
	}
}

// A clock that is asked for each line costs more than the line.
func TestLinesReadAtOnceShareTheirTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	write(t, path, os.O_CREATE, "")
	clock := time.Unix(0, 0)
	f := NewFollower(Options{Log: slog.New(slog.DiscardHandler), Now: func() time.Time {
		clock = clock.Add(time.Second)
		return clock
	}})
	times := make(chan time.Time, 3)
	if err := f.Watch([]string{path}, func(string) Handler {
		return func(_ []byte, _ bool, at time.Time) { times <- at }
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() { f.Run(ctx) })
	defer wait.Wait()
	defer cancel()
	write(t, path, os.O_APPEND, "a\nb\n")
	first, second := <-times, <-times
	write(t, path, os.O_APPEND, "c\n")
	if third := <-times; !first.Equal(second) || !third.After(second) {
		t.Errorf("lines were read at %v, %v and %v", first, second, third)
	}
}
