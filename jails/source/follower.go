// Package source is where lines come from: files that are followed while they are written,
// rotated, truncated, removed and put back. That something has changed is told by inotify;
// what has changed is read off the files themselves: device and inode, size, offset.
package source

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Handler gets the lines of one log in order, without newline and CR. The bytes are those of
// the file, valid text or not, and are the caller's again when the handler returns. live says
// that the line was written after the end of the log had been reached: no backlog; at is when it
// was read, the same for all lines that were read at once.
//
// Only whole lines come. One without its newline waits for it, however long: cut short,
// 192.0.2.17 is another host's address. What has lost its beginning, because the file was
// truncated or the line was too long, is dropped up to the next newline and counted.
//
// Each log has a goroutine that calls its handler; logs do not wait for each other, unless more
// than 2*GOMAXPROCS (at most 16) are in a handler at the same moment.
type Handler func(line []byte, live bool, at time.Time)

// MaxLine is the default of Options.MaxLine.
const MaxLine = 64 << 10

// Options are the follower's settings; zero values stand for the defaults.
type Options struct {
	// MaxLine is the length in bytes, without the line end, from which on a line is dropped
	// whole. Default 64 KiB: whoever can stretch a line past it is not seen, and with stock
	// settings Apache logs three fields of 8 KiB (LimitRequestLine, LimitRequestFieldSize),
	// rsyslog 8 KiB (maxMessageSize), journald 48 KiB (LineMax), syslog-ng 64 KiB (log-msg-size).
	MaxLine int

	// Poll is how often files are looked at where inotify cannot tell of changes. Default 250 ms.
	// Where it can, they are looked at eight times as seldom, in case it does not.
	Poll time.Duration

	// Now is the clock that tells handlers when a line was read. Default time.Now.
	Now func() time.Time

	// MaxLag is how many bytes a file may be behind before reading goes on at its end and what
	// lies between is never seen, only counted. Default 0: never, however long it takes.
	MaxLag int64

	// Linger is how long a file that has lost its path must have been silent before it is
	// closed. Default 1 min: a daemon that was told to reopen its log takes its time.
	Linger time.Duration

	// MaxFiles is how many files are open at most: where more are wanted, those that come later wait for
	// one to be closed. Default: as many as this process may have (RLIMIT_NOFILE), but for 256 or half
	// of them, which others need: the socket, the kernel's maps, who is started.
	MaxFiles int

	Log *slog.Logger // default slog.Default()
}

// spareFiles are left to others, if there are twice as many.
const spareFiles = 256

// mostFiles is the default of Options.MaxFiles.
func mostFiles() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return spareFiles
	}
	most := int(min(limit.Cur, math.MaxInt32))
	return max(most-spareFiles, most/2)
}

// seldom is how many polls inotify saves.
const seldom = 8

// A Follower follows the files that patterns name. Watch says which, Run follows them.
type Follower struct {
	opts    Options
	buffers *buffers
	dirty   chan struct{} // paths may name other files than before
	inotify func() (*inotify, error)

	scanning sync.Mutex // held over one scan, Watch, and the ends of Run; streams change only under it
	patterns []pattern
	handlers *handlers
	begun    context.Context // Run's; nil while it does not run
	unseen   error           // the directory of the last scan that inotify refused
	running  sync.WaitGroup  // the goroutines of the streams and of inotify

	mu        sync.Mutex // for what follows; held for moments, taken before a stream's own
	streams   map[string]*stream
	unmatched map[string]bool // globs without a file
	claims    map[fileID]*stream
	known     *positions
	queue     *inotify       // nil: none could be had
	files     map[int]*tail  // by inotify watch
	dirs      map[int]*names // by inotify watch: what the last scan looked up
	looking   map[int]*names // what the scan that is under way has looked up so far
	polling   string         // why changes are not told; "" they are
	overflows uint64         // times that the kernel dropped events
}

// NewFollower makes a follower that follows nothing yet.
func NewFollower(opts Options) *Follower {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.MaxLine == 0 {
		opts.MaxLine = MaxLine
	}
	if opts.Poll == 0 {
		opts.Poll = 250 * time.Millisecond
	}
	if opts.Linger == 0 {
		opts.Linger = time.Minute
	}
	if opts.MaxFiles == 0 {
		opts.MaxFiles = mostFiles()
	}
	if opts.Log == nil {
		opts.Log = slog.Default()
	}
	return &Follower{
		opts:    opts,
		buffers: newBuffers(min(maxBuffers, 2*runtime.GOMAXPROCS(0)), opts.MaxLine),
		dirty:   make(chan struct{}, 1),
		inotify: openInotify,
		streams: make(map[string]*stream),
		claims:  make(map[fileID]*stream),
		known:   &positions{},
		files:   make(map[int]*tail),
	}
}

// Watch sets what is followed: paths and globs (filepath.Match). Files that are there when a
// pattern is first given are followed from their end, those that appear later from their
// beginning. At the next Watch files keep their position, also those left out meanwhile. A
// file that several patterns or links reach is followed once, under the first path; see
// Patterns.
//
// open makes the handler of a path. It is called by the goroutine that reads the file, with no
// lock held, before the first line after each Watch; the line that is being handled during
// Watch stays with the old handler. A nil handler drops the lines.
//
// The files are opened here and closed when Run returns. A malformed pattern is an error,
// and nothing changes.
func (f *Follower) Watch(patterns []string, open func(path string) Handler) error {
	parsed, err := parse(patterns)
	if err != nil {
		return err
	}
	f.scanning.Lock()
	defer f.scanning.Unlock()
	before := f.patterns
	f.patterns, f.handlers = parsed, &handlers{open}
	for _, s := range f.streams {
		s.source.Store(f.handlers)
	}
	f.scan(time.Now(), func(s *sighting) bool {
		return !slices.ContainsFunc(before, func(p pattern) bool { return slices.Contains(s.patterns, p.given) })
	})
	return nil
}

// Run follows until ctx ends. It returns when all its goroutines have ended and all files are
// closed. A Follower runs once at a time.
func (f *Follower) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := f.begin(ctx); err != nil {
		return err
	}
	f.loop(ctx)
	cancel()
	f.end()
	return nil
}

func (f *Follower) begin(ctx context.Context) error {
	f.scanning.Lock()
	defer f.scanning.Unlock()
	if f.begun != nil {
		return errors.New("follow logs: already running")
	}
	f.begun = ctx
	f.openQueue()
	f.scan(time.Now(), appeared)
	for _, s := range f.streams {
		f.start(s)
	}
	return nil
}

// end waits for the goroutines, whose context has ended; they close their files.
func (f *Follower) end() {
	f.scanning.Lock()
	defer f.scanning.Unlock()
	f.closeQueue()
	f.running.Wait()
	for _, s := range f.streams {
		s.stop()
		s.stop = nil
	}
	f.begun = nil
}

// start has s read by a goroutine of its own, until drop or the end of Run stops it.
func (f *Follower) start(s *stream) {
	if f.begun == nil || s.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(f.begun)
	s.stop = stop
	f.running.Go(func() { s.run(ctx) })
}

// drop ends the following of a path. Its files are closed by whoever reads them.
func (f *Follower) drop(s *stream) {
	f.mu.Lock()
	delete(f.streams, s.path)
	f.mu.Unlock()
	s.source.Store(nil)
	if s.stop != nil {
		s.stop()
		return
	}
	s.close()
}

// loop scans when a directory has changed, and now and then.
func (f *Follower) loop(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		f.rescan(began)
		took := time.Since(began)
		// However wildly a directory changes, looking at it takes a fifth of one CPU, or half
		// of one where a look takes a second.
		wait(ctx, nil, min(4*took, time.Second))
		wait(ctx, f.dirty, f.interval(took))
	}
}

func (f *Follower) rescan(now time.Time) {
	f.scanning.Lock()
	defer f.scanning.Unlock()
	f.openQueue()
	f.scan(now, appeared)
}

// wait ends with ctx, early, or after d.
func wait(ctx context.Context, early <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-early:
	case <-timer.C:
	}
}

// interval is the longest time between two scans, of which the last one took so long: where inotify tells of
// changes, looking at thousands that do not change takes a hundredth of the time.
func (f *Follower) interval(took time.Duration) time.Duration {
	if f.polls() {
		return f.opts.Poll
	}
	return max(seldom*f.opts.Poll, min(100*took, 10*time.Second))
}

// polls reports whether there are logs whose changes inotify does not tell of.
func (f *Follower) polls() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.polling != "" {
		return true
	}
	for _, s := range f.streams {
		if s.polled() {
			return true
		}
	}
	return false
}

func (f *Follower) soil() {
	select {
	case f.dirty <- struct{}{}:
	default:
	}
}
