package source

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A sighting is what a path names at one moment.
type sighting struct {
	path     string
	patterns []string // those that reach it; each once
	literal  bool     // a pattern is the path itself: it is waited for
	id       fileID
	size     int64
	mtime    unix.Timespec
	err      error // no file there; or its kind or permissions are in the way
}

// A walk turns patterns into paths. Each directory is told to watch before anything in it is
// looked up, so that no change falls between looking and watching.
type walk struct {
	watch func(dir, name string) // name may be a pattern
	real  map[string]string      // directories and links that have been resolved; "": nothing there
	seen  map[string]*sighting
	order []*sighting
}

func newWalk(watch func(dir, name string)) *walk {
	return &walk{watch: watch, real: make(map[string]string), seen: make(map[string]*sighting)}
}

// add looks up what one pattern names: for a plain path always one sighting, for a glob one
// for each match that is there and no directory.
func (w *walk) add(p pattern) {
	if !globbed(p.path) {
		w.see(p.path, p).literal = true
		return
	}
	for _, path := range w.glob(p.path) {
		if info, err := os.Stat(path); absent(err) || err == nil && info.IsDir() {
			continue
		}
		w.see(path, p)
	}
}

func (w *walk) see(path string, p pattern) *sighting {
	s := w.seen[path]
	if s == nil {
		w.resolve(path)
		s = glimpse(path)
		w.seen[path] = s
		w.order = append(w.order, s)
	}
	s.patterns = append(s.patterns, p.given)
	return s
}

func glimpse(path string) *sighting {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return &sighting{path: path, err: &os.PathError{Op: "open", Path: path, Err: err}}
	}
	return &sighting{path: path, id: identity(&stat), size: stat.Size, mtime: stat.Mtim, err: regular(path, &stat)}
}

// glob lists the paths that pattern matches, component by component. What follows the last
// component with a wildcard is appended whether it is there or not.
func (w *walk) glob(pattern string) []string {
	paths := []string{"/"}
	for _, part := range strings.Split(pattern[1:], "/") {
		var longer []string
		for _, path := range paths {
			longer = append(longer, w.entries(path, part)...)
		}
		paths = longer
	}
	for _, path := range paths {
		w.resolve(path)
	}
	return paths
}

func (w *walk) entries(dir, part string) []string {
	if !globbed(part) {
		return []string{filepath.Join(dir, part)}
	}
	real := w.resolve(dir)
	if real == "" {
		return nil
	}
	w.watch(real, part)
	list, err := os.ReadDir(real)
	if err != nil {
		return nil // not a directory, or gone: its parent is watched
	}
	var paths []string
	for _, entry := range list {
		if ok, _ := filepath.Match(part, entry.Name()); ok {
			paths = append(paths, filepath.Join(dir, entry.Name()))
		}
	}
	return paths
}

// resolve follows path through every link and has each directory on the way watched for the
// name that was looked up in it. The result is free of links; "" where there is nothing.
func (w *walk) resolve(path string) string {
	if path == "/" {
		return path
	}
	if real, done := w.real[path]; done {
		return real
	}
	w.real[path] = "" // links in a circle end here
	dir := w.resolve(filepath.Dir(path))
	if dir == "" {
		return ""
	}
	name := filepath.Base(path)
	w.watch(dir, name)
	real := w.target(dir, name)
	w.real[path] = real
	return real
}

func (w *walk) target(dir, name string) string {
	path := filepath.Join(dir, name)
	target, err := os.Readlink(path)
	switch {
	case errors.Is(err, unix.EINVAL): // there, and not a link
		return path
	case err != nil:
		return ""
	case filepath.IsAbs(target):
		return w.resolve(filepath.Clean(target))
	}
	return w.resolve(filepath.Join(dir, target))
}

// A pattern is a path or a glob.
type pattern struct {
	given string // as whoever wants it wrote it
	path  string // absolute and clean
}

// parse makes patterns out of what was given, each once. It refuses what filepath.Match cannot
// read.
func parse(given []string) ([]pattern, error) {
	var patterns []pattern
	for _, text := range given {
		if _, err := filepath.Match(text, ""); err != nil {
			return nil, fmt.Errorf("watch %q: %w", text, err)
		}
		path, err := filepath.Abs(text)
		if err != nil {
			return nil, fmt.Errorf("watch %q: %w", text, err)
		}
		if p := (pattern{text, path}); !slices.Contains(patterns, p) {
			patterns = append(patterns, p)
		}
	}
	return patterns, nil
}

func globbed(pattern string) bool { return strings.ContainsAny(pattern, `*?[\`) }

// absent reports an error that says only that nothing is there.
func absent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
}
