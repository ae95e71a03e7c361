package source

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func (r *rig) status(name string) FileStatus {
	r.Helper()
	for _, status := range r.f.Status() {
		if status.Path == r.path(name) {
			return status
		}
	}
	r.Fatalf("no status of %s in %+v", name, r.f.Status())
	return FileStatus{}
}

// until waits for what Run does in its own time.
func (r *rig) until(what string, done func() bool) {
	r.Helper()
	for bound := time.Now().Add(10 * time.Second); !done(); pause(time.Millisecond) {
		if time.Now().After(bound) {
			r.Fatalf("%s: not within the bound\nstatus: %+v", what, r.f.Status())
		}
	}
}

// reported are the messages logged so far.
func (r *rig) reported() []string {
	var messages []string
	for line := range strings.Lines(r.logged()) {
		_, rest, _ := strings.Cut(line, `msg="`)
		message, _, _ := strings.Cut(rest, `"`)
		messages = append(messages, message)
	}
	return messages
}

func (r *rig) reports(want ...string) {
	r.Helper()
	if got := r.reported(); !slices.Equal(got, want) {
		r.Errorf("reported %q, want %q", got, want)
	}
}

func TestMissingFileIsReportedOnce(t *testing.T) {
	r := newRig(t, true)
	r.watch("log")
	r.step()
	r.step()
	if got, want := r.status("log").Error, "open "+r.path("log")+": no such file or directory"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	r.write("log", "a\n")
	r.wants("a")
	if got := r.status("log").Error; got != "" {
		t.Errorf("error %q after the file came", got)
	}
	r.reports("log file is missing; waiting for it", "log file is followed again")
}

func TestRotationIsNotReported(t *testing.T) {
	r := newRig(t, true)
	r.write("log", "")
	r.watch("log")
	r.rename("log", "log.1")
	r.step() // the moment in which the path names nothing
	r.write("log", "a\n")
	r.wants("a")
	r.rename("log", "log.2")
	r.step()
	r.now = r.now.Add(grace)
	r.step()
	r.reports("log file is missing; waiting for it")
}

func TestGlobWithoutMatchIsReportedOnce(t *testing.T) {
	r := newRig(t, true)
	r.watch("*.log")
	r.step()
	if got := r.status("*.log").Error; got != "no file matches" {
		t.Errorf("error %q", got)
	}
	r.write("a.log", "a\n")
	r.wants("a")
	if got := r.f.Status(); len(got) != 1 || got[0].Path != r.path("a.log") {
		t.Errorf("status %+v, want that of a.log alone", got)
	}
	r.reports("no log file matches; waiting for one")
}

// What is written while a file cannot be opened is read when it can be.
func TestUnreadableFileIsReportedAndRetried(t *testing.T) {
	r := newRig(t, true)
	if os.Getuid() != 0 {
		r.skip("be another user for a moment", unix.EPERM)
	}
	r.must(os.Chmod(filepath.Dir(r.dir), 0o755))
	r.write("log", "before\n")
	r.must(os.Chmod(r.path("log"), 0))
	asNobody(t, func() { r.watch("log") })
	r.write("log", "a\n")
	asNobody(t, func() {
		r.step()
		r.step()
	})
	if got := r.status("log").Patterns; !slices.Equal(got, []string{r.path("log")}) {
		t.Errorf("patterns %q", got)
	}
	if got, want := r.status("log").Error, "open "+r.path("log")+": permission denied"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	r.wants("a")
	r.reports("log file cannot be opened; trying again", "log file is followed again")
}

func TestFileThatAppearsUnreadableIsReported(t *testing.T) {
	r := newRig(t, true)
	if os.Getuid() != 0 {
		r.skip("be another user for a moment", unix.EPERM)
	}
	r.must(os.Chmod(filepath.Dir(r.dir), 0o755))
	r.watch("*.log")
	r.write("a.log", "a\n")
	r.must(os.Chmod(r.path("a.log"), 0))
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	asNobody(t, func() { r.must(r.f.Run(ended)) })
	if got, want := r.status("a.log").Error, "open "+r.path("a.log")+": permission denied"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	r.wants("a")
}

// asNobody does something with the rights of another user, on this thread alone.
func asNobody(t *testing.T, do func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Setfsuid(65534); err != nil {
		t.Fatal(err)
	}
	defer unix.Setfsuid(0)
	do()
}

// An overlay copies a file up at the first write, when it is open already.
func TestFileIsFollowedWhileAnOverlayCopiesItUp(t *testing.T) {
	r := newRig(t, true)
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		r.mkdir(name)
	}
	r.write("lower/log", "before\n")
	mountOverlay(r)
	r.watch("merged/log")
	r.write("merged/log", "a\n")
	r.step()
	r.wants("a")
	r.write("merged/log", "b\n")
	r.wants("b")
}

// mountOverlay gives this goroutine a mount namespace, which ends with it.
func mountOverlay(r *rig) {
	r.Helper()
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		r.skip("make a mount namespace", err)
	}
	r.must(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", r.path("lower"), r.path("upper"), r.path("work"))
	if err := unix.Mount("overlay", r.path("merged"), "overlay", 0, options); err != nil {
		r.skip("mount an overlay", err)
	}
	r.Cleanup(func() { unix.Unmount(r.path("merged"), unix.MNT_DETACH) })
}

// skip ends a test for want of something in this host; where that is required, it fails.
func (r *rig) skip(what string, err error) {
	r.Helper()
	if os.Getenv("REQUIRE_KERNEL") == "1" {
		r.Fatalf("%s: %v", what, err)
	}
	r.Skipf("%s: %v", what, err)
}

func TestOtherKindsOfFileAreReported(t *testing.T) {
	r := newRig(t, true)
	r.mkdir("log")
	r.watch("log")
	r.step()
	if got, want := r.status("log").Error, "open "+r.path("log")+": is a directory"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	r.reports("log file cannot be opened; trying again")
}

func TestDisplacedFileIsClosedWhenItHasBeenSilent(t *testing.T) {
	r := newRig(t, true)
	r.write("log", "")
	r.watch("log")
	r.rename("log", "log.1")
	r.write("log", "")
	steps := []struct {
		after time.Duration
		write bool
		held  int
	}{
		{0, false, 1},
		{time.Minute - 1, true, 1}, // a line starts the minute anew
		{time.Minute - 1, false, 1},
		{1, false, 0},
	}
	for i, step := range steps {
		r.now = r.now.Add(step.after)
		if step.write {
			r.write("log.1", "late\n")
		}
		r.step()
		if got := r.status("log").Displaced; got != step.held {
			t.Errorf("step %d: %d displaced files, want %d", i, got, step.held)
		}
	}
	r.wants("late")
}

func TestRotatedFileGoesToThePathThatAPatternNames(t *testing.T) {
	r := newRig(t, true)
	r.write("log", "")
	r.watch("log*")
	r.write("log", "a\n")
	r.wants("a")
	r.rename("log", "log.1")
	r.write("log", "b\n")
	r.wants("b")
	if got := r.status("log").Displaced; got != 0 {
		t.Errorf("%d displaced files at the old path", got)
	}
	if got := r.status("log.1"); got.Offset != 2 || got.Lines != 0 {
		t.Errorf("status %+v, want it to go on behind the first line", got)
	}
}

func TestFileRenamedAwayIsKeptUntilAnotherTakesItsPlace(t *testing.T) {
	r := newRig(t, true)
	r.write("log", "")
	r.watch("log")
	r.rename("log", "aside")
	r.step()
	r.now = r.now.Add(24 * time.Hour)
	r.write("aside", "a\n")
	r.wants("a")
}

func TestRemovedFileIsClosed(t *testing.T) {
	r := newRig(t, true)
	r.write("log", "")
	r.watch("log")
	r.remove("log")
	r.step()
	r.now = r.now.Add(time.Minute)
	r.step()
	if s := r.f.streams[r.path("log")]; !s.idle() {
		t.Error("a removed file is held open")
	}
}

func TestDisplacedFilesAreBounded(t *testing.T) {
	r := newRig(t, true)
	r.write("log", "")
	r.watch("log")
	for i := range 3 * maxDisplaced {
		r.rename("log", fmt.Sprint("log.", i))
		r.write("log", "")
		r.step()
	}
	if got := r.status("log").Displaced; got != maxDisplaced {
		t.Errorf("%d displaced files, want %d", got, maxDisplaced)
	}
}

// Lines that are written after a rotation are no backlog if there was none before.
func TestLiveGoesOnOverRotation(t *testing.T) {
	r := newRig(t, true)
	r.write("log", "")
	var lives []bool
	r.must(r.f.Watch([]string{r.path("log")}, func(string) Handler {
		return func(_ []byte, live bool, _ time.Time) { lives = append(lives, live) }
	}))
	r.step()
	r.rename("log", "log.1")
	r.write("log.1", "a\n")
	r.write("log", "b\n")
	r.step()
	if !slices.Equal(lives, []bool{true, true}) {
		t.Errorf("live %v, want both", lives)
	}
}

func TestFreshHandlerTakesOverBetweenTwoLines(t *testing.T) {
	r := newRig(t, true)
	r.write("log", "")
	var got []string
	handler := func(name string, then func()) func(string) Handler {
		return func(string) Handler {
			return func(line []byte, _ bool, _ time.Time) {
				got = append(got, name+" "+string(line))
				then()
			}
		}
	}
	paths := []string{r.path("log")}
	again := func() { r.must(r.f.Watch(paths, handler("new", func() {}))) }
	r.must(r.f.Watch(paths, handler("old", again)))
	r.write("log", "a\nb\n")
	r.step()
	if want := []string{"old a", "new b"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestPatternsOfAFileIncludeThoseOfItsOtherNames(t *testing.T) {
	r := newRig(t, true)
	r.write("log", "")
	opened := 0
	r.must(r.f.Watch([]string{r.path("log"), r.path("soft"), r.path("l*")}, func(path string) Handler {
		opened++
		return func([]byte, bool, time.Time) {}
	}))
	patterns := func(want ...string) {
		t.Helper()
		for i := range want {
			want[i] = r.path(want[i])
		}
		if got := r.f.Patterns(r.path("log")); !slices.Equal(got, want) {
			t.Errorf("patterns %q, want %q", got, want)
		}
	}
	r.write("log", "a\n")
	r.step()
	patterns("log", "l*")
	r.link("log", "soft")
	r.write("log", "b\n")
	r.step()
	patterns("log", "l*", "soft")
	if opened != 2 {
		t.Errorf("handler asked for %d times, want again when the patterns changed", opened)
	}
}

func TestPatternsAreListedAsGiven(t *testing.T) {
	r := newRig(t, true)
	r.write("log", "")
	given := []string{r.dir + "//log", r.dir + "/./log", r.path("log")}
	r.must(r.f.Watch(given, func(string) Handler { return nil }))
	if got := r.f.Patterns(r.path("log")); !slices.Equal(got, given) {
		t.Errorf("patterns %q, want %q", got, given)
	}
}

func TestStatusOfALog(t *testing.T) {
	r := newRig(t, true)
	r.write("log", "before\n")
	r.watch("log")
	began := r.now
	r.step()
	r.now = r.now.Add(time.Hour)
	r.write("log", "a\n"+strings.Repeat("x", 100)+"\nhalf")
	r.wants("a")
	got := r.f.Status()
	want := FileStatus{
		Path: r.path("log"), Patterns: []string{r.path("log")}, Offset: 110, Size: 114, Lag: 4,
		Lines: 1, TooLong: 1, AtEnd: began, LastLine: r.now,
	}
	if len(got) != 1 || fmt.Sprintf("%+v", got[0]) != fmt.Sprintf("%+v", want) {
		t.Errorf("status %+v\nwant %+v", got, want)
	}
}

func TestMalformedPatternChangesNothing(t *testing.T) {
	r := newRig(t, true)
	r.write("log", "")
	r.watch("log")
	err := r.f.Watch([]string{"/var/log/[a"}, nil)
	if err == nil || err.Error() != `watch "/var/log/[a": syntax error in pattern` {
		t.Errorf("error %v", err)
	}
	r.write("log", "a\n")
	r.wants("a")
}

func TestWithoutInotifyFilesArePolled(t *testing.T) {
	refuse := func(f func(i *inotify)) func() (*inotify, error) {
		return func() (*inotify, error) {
			i, err := openInotify()
			if err == nil {
				f(i)
			}
			return i, err
		}
	}
	tests := []struct {
		name    string
		inotify func() (*inotify, error)
		polling string
	}{
		{"no instance", func() (*inotify, error) { return nil, unix.EMFILE }, "too many open files"},
		{"no watches", refuse(func(i *inotify) {
			i.add = func(int, string, uint32) (int, error) { return -1, unix.ENOSPC }
		}), "no space left on device"},
		{"no watches for directories", refuse(func(i *inotify) {
			i.add = func(fd int, path string, mask uint32) (int, error) {
				if mask == dirEvents {
					return -1, unix.ENOSPC
				}
				return unix.InotifyAddWatch(fd, path, mask)
			}
		}), "no space left on device"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t, true)
			r.f.inotify, r.f.opts.Poll = test.inotify, time.Millisecond
			r.write("log", "")
			r.watch("log")
			r.steps = false
			r.stop = r.run()
			defer r.stop()
			r.write("log", "a\n")
			r.wants("a")
			r.rename("log", "log.1")
			r.write("log.1", "b\n")
			r.write("log", "c\n")
			r.wants("b", "c")
			if got := r.status("log").Polling; !strings.HasSuffix(got, test.polling) {
				t.Errorf("polling because of %q, want %q", got, test.polling)
			}
		})
	}
}

// Where inotify tells of changes, looking at many logs that do not change takes a hundredth of the time.
func TestManyIdleLogsAreLookedAtSeldom(t *testing.T) {
	r := newRig(t, true)
	r.f.opts.Poll = 250 * time.Millisecond
	r.write("log", "")
	r.watch("log")
	for took, want := range map[time.Duration]time.Duration{
		0: 2 * time.Second, 20 * time.Millisecond: 2 * time.Second, 50 * time.Millisecond: 5 * time.Second, time.Hour: 10 * time.Second,
	} {
		if got := r.f.interval(took); got != want {
			t.Errorf("a look that took %v is followed by one after %v, want %v", took, got, want)
		}
	}
	r.f.streams[r.path("log")].last().polling = "nfs"
	if got := r.f.interval(time.Second); got != r.f.opts.Poll {
		t.Errorf("a file that is polled is looked at after %v", got)
	}
}

// When the kernel drops events, files whose events are lost are found all the same.
func TestOverflowOfTheQueueLosesNoFile(t *testing.T) {
	r := newRig(t, false)
	r.watch("*.log")
	r.until("the first scan", func() bool { r.f.mu.Lock(); defer r.f.mu.Unlock(); return len(r.f.dirs) > 0 })
	r.f.mu.Lock()           // nobody takes events from now on
	for i := range 24_000 { // two events each; the queue holds 16,384, and one reading takes thousands
		name := fmt.Sprint("noise", i%2)
		r.write(name, "")
		r.remove(name)
	}
	r.write("a.log", "a\n")
	r.f.mu.Unlock()
	r.wants("a")
	r.until("the overflow, or else the test shows nothing", func() bool { return r.status("a.log").Overflows > 0 })
}

// The first line of each log is handed over while that of the other is: both have a thread. The lines of one are in order.
func TestLogsAreReadSideBySideAndEachInOrder(t *testing.T) {
	r := newRig(t, false)
	const lines = 1000
	text := new(strings.Builder)
	for n := range lines {
		fmt.Fprintln(text, n)
	}
	logs := []string{"a.log", "b.log"}
	for _, name := range logs {
		r.write(name, "")
	}
	var inside, done atomic.Int64
	both := make(chan struct{})
	r.must(r.f.Watch([]string{r.path("*.log")}, func(path string) Handler {
		next := 0
		return func(line []byte, _ bool, _ time.Time) {
			if string(line) != strconv.Itoa(next) {
				t.Errorf("%s: line %q, want %d", path, line, next)
			}
			switch next++; next {
			case 1:
				if inside.Add(1) == int64(len(logs)) {
					close(both)
				}
				select {
				case <-both:
				case <-t.Context().Done():
				}
			case lines:
				done.Add(1)
			}
		}
	}))
	for _, name := range logs {
		r.write(name, text.String())
	}
	r.until("all lines of both", func() bool { return done.Load() == int64(len(logs)) })
}

func TestThousandFilesAreFollowed(t *testing.T) {
	r := newRig(t, false)
	const files = 1000
	for i := range files {
		r.write(fmt.Sprint(i, ".log"), "")
	}
	var got atomic.Int64
	r.must(r.f.Watch([]string{r.path("*.log")}, func(string) Handler {
		return func([]byte, bool, time.Time) { got.Add(1) }
	}))
	for i := range files {
		r.write(fmt.Sprint(i, ".log"), "a\nb\n")
	}
	r.until("two lines of each file", func() bool { return got.Load() == 2*files })
}

func TestRunLeavesNothingBehind(t *testing.T) {
	before, routines := descriptors(t), runtime.NumGoroutine()
	r := newRig(t, false)
	r.write("a.log", "")
	r.write("b.log", "")
	r.watch("*.log", "gone")
	r.write("a.log", "a\n")
	r.wants("a")
	r.rename("a.log", "a.log.1")
	r.write("a.log", "b\n")
	r.wants("b")
	r.watch("b.log")
	r.stop()
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
	r.until("the end of all goroutines", func() bool { return runtime.NumGoroutine() <= routines })
}

func TestRunAgainGoesOnWhereItEnded(t *testing.T) {
	r := newRig(t, false)
	r.write("log", "")
	r.watch("log")
	r.write("log", "a\n")
	r.wants("a")
	r.stop()
	r.write("log", "b\n")
	r.stop = r.run()
	defer r.stop()
	r.wants("b")
}

func TestRunEndsWithItsContextBeforeAnythingIsWatched(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := NewFollower(Options{}).Run(ctx); err != nil {
		t.Error(err)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
