package source

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// maxDisplaced is how many files that have lost their path are still read, for one path.
const maxDisplaced = 16

// A stream is the log at one path: the file there now, behind those that were there before
// and may still be written to. One goroutine reads it.
type stream struct {
	path    string
	linger  time.Duration
	maxLag  int64
	log     *slog.Logger
	buffers *buffers
	part    func(*tail)        // gives a closed file back
	wake    chan struct{}      // something may be there to read
	stop    context.CancelFunc // nil: no goroutine; under the follower's scanning

	source atomic.Pointer[handlers] // nil: nobody listens any more
	from   *handlers                // the reading goroutine's: where handle comes from
	handle Handler
	now    func() time.Time
	at     time.Time // when the lines that are handed over were read

	mu       sync.Mutex
	tails    []*tail // oldest first; the last has the path, or had it last
	gone     bool    // the path names none of them
	pinned   bool    // the path itself was asked for: its last file is kept until another takes its place
	patterns []string
	trouble  string // why nothing can be opened at the path
	failed   string // why an open file cannot be read
	shown    FileStatus
	mtime    unix.Timespec // at the last sighting

	count counts // the reading goroutine's
}

// handlers is where a stream gets its handler. A new one makes the stream ask again.
type handlers struct{ open func(path string) Handler }

func (s *stream) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run reads whenever there is a nudge, until ctx ends. Then it closes the files.
func (s *stream) run(ctx context.Context) {
	defer s.close()
	for {
		s.step(ctx, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		}
	}
}

func (s *stream) close() {
	tails := s.held()
	s.mu.Lock()
	s.tails = nil
	s.mu.Unlock()
	for _, t := range tails {
		s.part(t)
	}
}

// step hands over what the files hold by now, the oldest file first.
//
// The sizes are taken newest file first: whatever a writer has put into a newer file by then,
// it put into the older one before, and that is read before. So a writer's order is kept
// over a rotation.
func (s *stream) step(ctx context.Context, now time.Time) {
	tails := s.held()
	if len(tails) == 0 {
		return
	}
	buf := s.buffers.get(ctx)
	if buf == nil {
		return
	}
	defer s.buffers.put(buf)
	errs := make([]error, len(tails))
	for i, t := range slices.Backward(tails) {
		errs[i] = t.look(now)
	}
	for i, t := range tails {
		if i > 0 && tails[i-1].caughtUp {
			t.caughtUp = true
		}
		if errs[i] == nil {
			errs[i] = s.catchUp(t, buf)
		}
		if errs[i] == nil {
			errs[i] = s.drain(ctx, t, buf, now)
		}
	}
	for _, t := range s.sweep(tails, errs, now) {
		s.part(t)
	}
}

func (s *stream) held() []*tail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.tails)
}

// catchUp leaves out what lies between here and the end of t, if that is too much.
func (s *stream) catchUp(t *tail, buf []byte) error {
	lag := t.size - t.offset
	if s.maxLag == 0 || lag <= s.maxLag {
		return nil
	}
	before := t.offset
	if err := t.seek(t.size, buf); err != nil {
		return err
	}
	s.count.skipped += uint64(t.offset - before)
	s.log.Warn("log is too far behind; going on at its end", "path", s.path, "behind", lag, "maxlag", s.maxLag, "skipped", s.count.skipped)
	return nil
}

func (s *stream) drain(ctx context.Context, t *tail, buf []byte, now time.Time) error {
	for ctx.Err() == nil {
		s.at = s.now()
		more, err := t.read(buf, s.deliver)
		s.show(t, more, now)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// deliver hands one line to the handler of the day.
func (s *stream) deliver(line []byte, live bool) {
	if source := s.source.Load(); source != s.from {
		s.from, s.handle = source, nil
		if source != nil {
			s.handle = source.open(s.path)
		}
	}
	if s.handle != nil {
		s.handle(line, live, s.at)
	}
}

// sweep takes out the files that nobody writes to any more, and reports what failed.
func (s *stream) sweep(tails []*tail, errs []error, now time.Time) (done []*tail) {
	s.mu.Lock()
	defer s.mu.Unlock()
	failed := ""
	for i, t := range tails {
		current := t == s.last()
		if !s.finished(t, current, errs[i], now) {
			if errs[i] != nil {
				failed = errs[i].Error()
			}
			continue
		}
		if t.torn && !t.wanted {
			s.count.torn++
		}
		s.tails = slices.DeleteFunc(s.tails, func(other *tail) bool { return other == t })
		done = append(done, t)
	}
	s.report(&s.failed, failed, "log file cannot be read; trying again")
	return done
}

// finished decides whether t, which has just been read to its end, can be closed.
func (s *stream) finished(t *tail, current bool, err error, now time.Time) bool {
	silent := now.Sub(later(t.grown, t.displaced)) >= s.linger
	switch {
	case t.wanted:
		return true
	case current:
		return s.gone && silent && (t.unlinked || !s.pinned)
	case err != nil:
		return true
	}
	return silent || len(s.tails) > maxDisplaced+1
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// take makes t the file that the path names; it may be one that had the path before.
func (s *stream) take(t *tail, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone, t.wanted = false, false
	s.report(&s.trouble, "", "")
	last := s.last()
	if last == t {
		return
	}
	if last != nil {
		last.displaced = now
		s.shown.Rotations++
	}
	s.tails = append(slices.DeleteFunc(s.tails, func(other *tail) bool { return other == t }), t)
	s.nudge()
}

// last is the file that has the path, or had it last; nil: there was none. s.mu is held.
func (s *stream) last() *tail {
	if len(s.tails) == 0 {
		return nil
	}
	return s.tails[len(s.tails)-1]
}

// grace is how long a path may be empty without a word: that is how logs are rotated.
const grace = time.Second

// lose notes that the path names none of the files, and why.
func (s *stream) lose(reason, say string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.last()
	if !s.gone && last != nil {
		last.displaced = now
	}
	s.gone = true
	if last == nil || now.Sub(last.displaced) >= grace {
		s.report(&s.trouble, reason, say)
	}
	s.nudge()
}

// reach notes which patterns reach the file; others than before are another handler's.
func (s *stream) reach(patterns []string, literal bool, source *handlers) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(patterns, s.patterns) {
		s.source.Store(&handlers{source.open})
	}
	s.patterns, s.pinned = patterns, literal
}

// claim notes which patterns wait for a file at the path. Those of a file that has been there
// stay: what is still written to it is theirs.
func (s *stream) claim(patterns []string, literal bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pinned = literal
	if len(s.tails) == 0 {
		s.patterns = patterns
	}
}

// told notes whether inotify tells of writes to t, or why it does not.
func (s *stream) told(t *tail, silence string, every time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if silence != "" && silence != t.polling {
		s.log.Warn("log file is polled", "path", s.path, "error", silence, "every", every)
	}
	t.polling = silence
	s.nudge() // for what was written before
}

func (s *stream) unpin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pinned = false
}

func (s *stream) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tails) == 0
}

// release has the file id closed as soon as it is read: the stream of another path wants it.
func (s *stream) release(id fileID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tails {
		if t.id == id {
			t.wanted = true
		}
	}
	s.nudge()
}

// sighted nudges the stream if the file at its path is not as it was last read: inotify may
// be silent on this file system.
func (s *stream) sighted(size int64, mtime unix.Timespec) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if size != s.shown.Size || mtime != s.mtime || len(s.tails) > 1 || s.failed != "" {
		s.nudge()
	}
	s.mtime = mtime
}

// holds finds an open file.
func (s *stream) holds(id fileID) *tail {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tails {
		if t.id == id {
			return t
		}
	}
	return nil
}

// report logs a trouble once, when it begins or changes; s.mu is held.
func (s *stream) report(trouble *string, now, say string) {
	if *trouble == now {
		return
	}
	before := *trouble
	*trouble = now
	switch {
	case now != "":
		s.log.Warn(say, "path", s.path, "error", now)
	case before != "":
		s.log.Info("log file is followed again", "path", s.path)
	}
}

// buffers bounds the memory of all streams together: a stream holds one while it reads.
type buffers struct{ free chan []byte }

const (
	bufferSize = 256 << 10
	maxBuffers = 16
)

func newBuffers(n, maxLine int) *buffers {
	b := &buffers{make(chan []byte, n)}
	for range n {
		b.free <- make([]byte, max(bufferSize, 2*maxLine+2*markSize))
	}
	return b
}

// get waits for a buffer; nil when ctx ends first.
func (b *buffers) get(ctx context.Context) []byte {
	select {
	case buf := <-b.free:
		return buf
	case <-ctx.Done():
		return nil
	}
}

func (b *buffers) put(buf []byte) { b.free <- buf }
