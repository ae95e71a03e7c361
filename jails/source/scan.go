package source

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// appeared is for scans after the first: what was not there before is read from its beginning.
func appeared(*sighting) bool { return false }

// scan looks at what the patterns name now and brings the streams in line. fresh says which
// files are met for the first time and start at their end. f.scanning is held.
func (f *Follower) scan(now time.Time, fresh func(*sighting) bool) {
	w := newWalk(f.watchDirs())
	for _, p := range f.patterns {
		w.add(p)
	}
	f.leaveDirs()
	sharing := make(map[fileID][]*sighting)
	for _, s := range w.order {
		if s.err == nil {
			sharing[s.id] = append(sharing[s.id], s)
		}
	}
	for _, s := range w.order {
		if s.err != nil {
			f.miss(s, now)
			continue
		}
		f.follow(s, sharing[s.id], now, fresh(s))
	}
	f.retire(w, now)
}

// follow has the file that s names read by one stream. sharing are all paths that name it.
func (f *Follower) follow(s *sighting, sharing []*sighting, now time.Time, fresh bool) {
	holder, own := f.holder(s.id), f.streams[s.path]
	switch {
	case holder == nil:
		f.open(s, sharing, now, fresh)
	case holder == own:
		f.keep(own, s, sharing, now)
	case f.streams[holder.path] == holder && named(sharing, holder.path):
		f.yield(own, s, now)
	default: // the file was renamed to this path, or the path was left out by Watch and is back
		holder.release(s.id)
	}
}

func (f *Follower) holder(id fileID) *stream {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.claims[id]
}

// open begins with a file that nobody reads yet.
func (f *Follower) open(s *sighting, sharing []*sighting, now time.Time, fresh bool) {
	own := f.obtain(s)
	t, err := f.openTail(s.path, &own.count)
	if err == nil && t.id != s.id { // replaced since it was sighted
		t.file.Close()
		f.soil()
		return
	}
	if err == nil {
		err = f.place(t, fresh)
	}
	if err != nil {
		if fresh { // it is not read now, but it was there: from here on
			f.remember(s.id, position{offset: s.size})
		}
		own.lose(err.Error(), "log file cannot be opened; trying again", now)
		return
	}
	f.mu.Lock()
	f.claims[t.id] = own
	f.mu.Unlock()
	f.watchFile(own, t)
	own.reach(reaching(sharing), s.literal, f.handlers)
	own.take(t, now)
}

// openTail opens the file at path, if there is room for it.
func (f *Follower) openTail(path string, count *counts) (*tail, error) {
	f.mu.Lock()
	open := len(f.claims)
	f.mu.Unlock()
	if open >= f.opts.MaxFiles {
		return nil, fmt.Errorf("open %s: %d log files are open, which is as many as can be: raise the limit of open files (systemd: LimitNOFILE)", path, open)
	}
	return openTail(path, f.opts.MaxLine, count)
}

// place moves t to where it was left, or to its end if it is met for the first time. If that
// cannot be read, t is closed.
func (f *Follower) place(t *tail, fresh bool) error {
	f.mu.Lock()
	left, known := f.known.take(t.id)
	f.mu.Unlock()
	err := t.look(time.Time{})
	buf := make([]byte, f.opts.MaxLine+2+markSize)
	switch {
	case err != nil:
	case known:
		err = t.resume(left, buf)
	case fresh:
		err = t.seek(t.size, buf)
	}
	if err != nil {
		t.file.Close()
	}
	if err != nil && known {
		f.remember(t.id, left)
	}
	return err
}

// keep goes on with a file that its own path names, perhaps again.
func (f *Follower) keep(own *stream, s *sighting, sharing []*sighting, now time.Time) {
	t := own.holds(s.id)
	if t == nil { // being closed
		return
	}
	f.watchFile(own, t)
	own.reach(reaching(sharing), s.literal, f.handlers)
	own.take(t, now)
	own.sighted(s.size, s.mtime)
}

// yield leaves the file that s names to the stream that reads it by another path.
func (f *Follower) yield(own *stream, s *sighting, now time.Time) {
	if own == nil {
		return
	}
	if own.idle() {
		f.drop(own)
		return
	}
	own.unpin()
	own.lose("", "", now)
}

// miss deals with a path that names no file that can be read.
func (f *Follower) miss(s *sighting, now time.Time) {
	own := f.obtain(s)
	if absent(s.err) {
		own.lose(s.err.Error(), "log file is missing; waiting for it", now)
		return
	}
	own.lose(s.err.Error(), "log file cannot be opened; trying again", now)
}

// obtain finds or makes the stream of a path.
func (f *Follower) obtain(s *sighting) *stream {
	own := f.streams[s.path]
	if own == nil {
		own = &stream{
			path: s.path, linger: f.opts.Linger, maxLag: f.opts.MaxLag, log: f.opts.Log,
			buffers: f.buffers, part: f.part, wake: make(chan struct{}, 1), now: f.opts.Now,
		}
		own.source.Store(f.handlers)
		f.mu.Lock()
		f.streams[s.path] = own
		f.mu.Unlock()
		f.start(own)
	}
	own.claim(s.patterns, s.literal)
	return own
}

// retire drops the streams whose patterns are gone, and those of vanished glob matches as soon
// as nothing is left to read.
func (f *Follower) retire(w *walk, now time.Time) {
	for path, s := range f.streams {
		if w.seen[path] != nil {
			continue
		}
		wanted := slices.ContainsFunc(f.patterns, func(p pattern) bool {
			ok, _ := filepath.Match(p.path, path)
			return ok && globbed(p.path)
		})
		if !wanted || s.idle() {
			f.drop(s)
			continue
		}
		s.unpin()
		s.lose("", "", now)
	}
	f.noteUnmatched(w)
}

func (f *Follower) noteUnmatched(w *walk) {
	unmatched := make(map[string]bool)
	for _, p := range f.patterns {
		unmatched[p.given] = true
	}
	for _, s := range w.order {
		for _, pattern := range s.patterns {
			delete(unmatched, pattern)
		}
	}
	f.mu.Lock()
	before := f.unmatched
	f.unmatched = unmatched
	f.mu.Unlock()
	for pattern := range unmatched {
		if !before[pattern] {
			f.opts.Log.Warn("no log file matches; waiting for one", "pattern", pattern)
		}
	}
}

// part closes a file and remembers how far it was read.
func (f *Follower) part(t *tail) {
	f.mu.Lock()
	if f.files[t.wd] == t {
		f.queue.remove(t.wd)
		delete(f.files, t.wd)
	}
	delete(f.claims, t.id)
	f.known.put(t.id, t.position)
	f.mu.Unlock()
	t.file.Close()
	f.soil() // another path may have waited for it
}

func (f *Follower) remember(id fileID, p position) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known.put(id, p)
}

func named(sharing []*sighting, path string) bool {
	return slices.ContainsFunc(sharing, func(s *sighting) bool { return s.path == path })
}

func reaching(sharing []*sighting) []string {
	var patterns []string
	for _, s := range sharing {
		for _, pattern := range s.patterns {
			if !slices.Contains(patterns, pattern) {
				patterns = append(patterns, pattern)
			}
		}
	}
	return patterns
}

// maxPositions bounds what is remembered of closed files; the oldest is forgotten first.
const maxPositions = 1024

// positions are those of files that are not open. A file that took over the inode of another
// does not carry its mark and is read from the beginning.
type positions struct {
	of    map[fileID]position
	order []fileID
}

func (p *positions) put(id fileID, at position) {
	if p.of == nil {
		p.of = make(map[fileID]position)
	}
	if _, there := p.of[id]; !there {
		p.order = append(p.order, id)
	}
	p.of[id] = at
	if len(p.order) > maxPositions {
		delete(p.of, p.order[0])
		p.order = p.order[1:]
	}
}

func (p *positions) take(id fileID) (position, bool) {
	at, ok := p.of[id]
	if ok {
		delete(p.of, id)
		p.order = slices.DeleteFunc(p.order, func(other fileID) bool { return other == id })
	}
	return at, ok
}
