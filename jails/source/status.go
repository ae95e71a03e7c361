package source

import (
	"slices"
	"strings"
	"time"
)

// A FileStatus is what is known of one followed log, over all the files that its path named.
type FileStatus struct {
	Path      string
	Patterns  []string  // those that reach the file, by whatever path
	Offset    int64     // where the next line begins, in the file that the path names
	Size      int64     // of that file
	Lag       int64     // bytes not handed over, an unfinished line among them; those of files rotated away too
	Lines     uint64    // handed over
	TooLong   uint64    // dropped because longer than MaxLine
	Torn      uint64    // dropped because a truncation or a rotation took their beginning or end
	Skipped   uint64    // bytes left out because the file was more than MaxLag behind
	Rotations uint64    // times that another file took the path
	Restarts  uint64    // times that a file was truncated and read from its beginning again
	Displaced int       // files without their path that are still read
	Error     string    // why nothing is read; "" in order
	Polling   string    // why the file is polled; "" changes are told by inotify
	Overflows uint64    // times that the kernel dropped events and every file was looked at instead; of all logs
	AtEnd     time.Time // since when it has been read to its end; zero while there is a backlog
	LastLine  time.Time // when the last line was handed over; zero: none was
}

// Status tells how each log does, sorted by path. A pattern that matches nothing is listed
// with itself as the path.
func (f *Follower) Status() []FileStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []FileStatus
	for _, s := range f.streams {
		status := s.status()
		if status.Polling == "" {
			status.Polling = f.polling
		}
		all = append(all, status)
	}
	for pattern := range f.unmatched {
		all = append(all, FileStatus{Path: pattern, Patterns: []string{pattern}, Error: "no file matches", Polling: f.polling})
	}
	for i := range all {
		all[i].Overflows = f.overflows
	}
	slices.SortFunc(all, func(a, b FileStatus) int { return strings.Compare(a.Path, b.Path) })
	return all
}

// Patterns lists the patterns, as Watch was given them, that reach the file followed as path, whether by that path, by
// another or by a link. A handler's opener may call it; it is asked again when they change.
func (f *Follower) Patterns(path string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.streams[path]
	if s == nil {
		return nil
	}
	return s.status().Patterns
}

func (s *stream) status() FileStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.shown
	status.Path, status.Patterns = s.path, slices.Clone(s.patterns)
	status.Error = s.trouble
	if status.Error == "" {
		status.Error = s.failed
	}
	status.Displaced = max(0, len(s.tails)-1)
	if last := s.last(); last != nil {
		status.Polling = last.polling
	}
	return status
}

// polled reports whether inotify does not tell of the file at the path.
func (s *stream) polled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.last()
	return last != nil && last.polling != ""
}

// show publishes how far t has been read, and whether there is more.
func (s *stream) show(t *tail, more bool, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shown := &s.shown
	if s.count.lines != shown.Lines {
		shown.LastLine = now
	}
	shown.Lines, shown.TooLong, shown.Torn = s.count.lines, s.count.long, s.count.torn
	shown.Skipped, shown.Restarts = s.count.skipped, s.count.restart
	shown.Lag = 0
	for _, held := range s.tails {
		shown.Lag += max(0, held.size-held.offset)
	}
	if t != s.last() {
		return
	}
	shown.Offset, shown.Size = t.offset, t.size
	switch {
	case more:
		shown.AtEnd = time.Time{}
	case shown.AtEnd.IsZero():
		shown.AtEnd = now
	}
}
