package source

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// names are the entries of one directory that somebody waits for.
type names struct {
	exact map[string]bool
	globs []string
}

func (n *names) add(name string) {
	if !globbed(name) {
		n.exact[name] = true
		return
	}
	n.globs = append(n.globs, name)
}

func (n *names) match(name []byte) bool {
	if n.exact[string(name)] {
		return true
	}
	for _, glob := range n.globs {
		if ok, _ := filepath.Match(glob, string(name)); ok {
			return true
		}
	}
	return false
}

// openQueue asks for an inotify queue, if there is none, and has it read. f.scanning is held.
func (f *Follower) openQueue() {
	f.mu.Lock()
	there := f.queue != nil
	f.mu.Unlock()
	if there {
		return
	}
	queue, err := f.inotify()
	if err != nil {
		f.poll(err)
		return
	}
	f.mu.Lock()
	f.queue = queue
	f.mu.Unlock()
	f.running.Go(func() {
		if err := queue.events(f.dispatch); err != nil {
			f.poll(err)
			f.closeQueue() // the next scan opens another
		}
	})
}

// closeQueue ends the goroutine that reads the queue.
func (f *Follower) closeQueue() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.queue != nil {
		f.queue.close()
	}
	f.queue, f.dirs = nil, nil
	clear(f.files)
}

// poll says once that inotify does not tell of everything, and why; nil: it does.
func (f *Follower) poll(err error) {
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	f.mu.Lock()
	before := f.polling
	f.polling = reason
	f.mu.Unlock()
	if reason != before && reason != "" {
		f.opts.Log.Warn("inotify is not to be had; logs are polled", "error", reason, "every", f.opts.Poll)
	}
}

// watchDirs makes the function by which a scan has directories watched.
func (f *Follower) watchDirs() func(dir, name string) {
	f.mu.Lock()
	queue := f.queue
	f.looking = make(map[int]*names)
	f.mu.Unlock()
	f.unseen = nil
	watches := make(map[string]int)
	return func(dir, name string) {
		if queue == nil {
			return
		}
		wd, done := watches[dir]
		if !done {
			wd = f.addDir(queue, dir)
			watches[dir] = wd
		}
		if wd >= 0 {
			f.expect(wd, name)
		}
	}
}

func (f *Follower) addDir(queue *inotify, dir string) int {
	wd, err := queue.addDir(dir)
	if err != nil && !absent(err) {
		f.unseen = err
	}
	return wd
}

// expect has events of name in a directory lead to a scan, from now on.
func (f *Follower) expect(wd int, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.looking[wd] == nil {
		f.looking[wd] = &names{exact: make(map[string]bool)}
	}
	f.looking[wd].add(name)
}

// leaveDirs ends the watches that the scan did not need.
func (f *Follower) leaveDirs() {
	f.mu.Lock()
	open := f.queue != nil
	for wd := range f.dirs {
		if open && f.looking[wd] == nil {
			f.queue.remove(wd)
		}
	}
	f.dirs, f.looking = f.looking, nil
	f.mu.Unlock()
	if open {
		f.poll(f.unseen)
	}
}

// watchFile has writes to t nudge s, if that is to be had.
func (f *Follower) watchFile(s *stream, t *tail) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.queue == nil || f.files[t.wd] == t {
		return
	}
	wd, err := f.queue.addFile(t.file)
	if err == nil {
		t.wd, t.owner = wd, s
		f.files[wd] = t
	}
	s.told(t, silence(t.file, err), f.opts.Poll)
}

// silence is why changes of a file are not told, or not all; "" they are.
func silence(file *os.File, err error) string {
	if err != nil {
		return err.Error()
	}
	if kind := remote(file); kind != "" {
		return "others can write to " + kind + " without inotify telling"
	}
	return ""
}

// dispatch takes one event to whom it concerns.
func (f *Follower) dispatch(wd int, mask uint32, name []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if mask&unix.IN_Q_OVERFLOW != 0 {
		f.overflow()
		return
	}
	if t := f.files[wd]; t != nil {
		t.owner.nudge()
		return
	}
	for _, dirs := range []map[int]*names{f.dirs, f.looking} {
		if dir := dirs[wd]; dir != nil && (mask&dirGone != 0 || dir.match(name)) {
			f.soil()
		}
	}
}

// overflow looks at everything, since nobody knows which events were lost. f.mu is held.
func (f *Follower) overflow() {
	if f.overflows == 0 {
		f.opts.Log.Warn("inotify dropped events; every log is looked at instead", "hint", "fs.inotify.max_queued_events")
	}
	f.overflows++
	for _, s := range f.streams {
		s.nudge()
	}
	f.soil()
}
