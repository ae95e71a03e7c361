package jails

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"xdpban/configs"
	"xdpban/internal/lazy"
	"xdpban/internal/yamldoc"
)

// Load reads the configuration file at path and the files jails.d/*.yaml beside it, in the
// order of their names: what these say of a jail is put over what has been said before.
// Filters are looked for in filters/ beside the file, in /etc/xdpban/filters, and among the
// embedded ones. An empty path stands for the embedded default.
//
// The error is a yamldoc.Errors with everything that is wrong.
func Load(file string) (*Config, error) {
	if file == "" {
		return load(place{fsys: configs.FS, name: "xdpban.yaml", shown: "(embedded)"})
	}
	absolute, err := filepath.Abs(file)
	if err != nil {
		return nil, yamldoc.Errors{{File: file, Msg: err.Error()}}
	}
	dir, name := filepath.Split(absolute)
	return load(place{fsys: os.DirFS(dir), dir: filepath.Clean(dir), name: name, shown: filepath.Dir(file)})
}

// A place is a configuration file and the directory around it.
type place struct {
	fsys  fs.FS
	dir   string // absolute; "" embedded
	name  string // of the main file
	shown string // the directory as the user gave it
}

// show is name as errors give it.
func (p place) show(name string) string { return filepath.Join(p.shown, name) }

func load(p place) (*Config, error) {
	var raw rawConfig
	errs := p.decode(p.name, &raw)
	if slices.ContainsFunc(errs, wholeFile) {
		return nil, errs.Err() // what is said of the jails would miss half of them
	}
	more, unread := p.more()
	errs = append(errs, unread...)
	if raw.Jails == nil {
		raw.Jails = make(rawJails)
	}
	for _, name := range more {
		var next rawMore
		mistakes := p.decode(name, &next)
		if len(mistakes) > 0 && p.idle(name) {
			continue
		}
		errs = append(errs, mistakes...)
		raw.Jails.put(next.Jails)
	}
	f := finisher{filters: newFilters(p), errs: errs}
	config := f.config(raw)
	if err := f.errs.Err(); err != nil {
		return nil, err
	}
	return config, nil
}

// wholeFile tells errors because of which nothing of a file could be read.
func wholeFile(err *yamldoc.Error) bool { return err.Jail == "" && err.Key == "" }

// moreJails is the directory of further files, beside the main one.
const moreJails = "jails.d"

// meant are the ends of names of files that somebody wants to be read.
var meant = []string{".yaml", ".yml", ".conf", ".local"}

// more lists the files of jails.d, by name.
func (p place) more() ([]string, yamldoc.Errors) {
	entries, err := fs.ReadDir(p.fsys, moreJails) // sorted
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, yamldoc.Errors{{File: p.show(moreJails), Msg: reason(err)}}
	}
	var names []string
	var errs yamldoc.Errors
	for _, entry := range entries {
		name := path.Join(moreJails, entry.Name())
		switch {
		case strings.HasPrefix(entry.Name(), "."):
		case path.Ext(name) == ".yaml":
			names = append(names, name)
		case slices.Contains(meant, strings.ToLower(path.Ext(name))):
			errs = append(errs, &yamldoc.Error{File: p.show(name), Msg: "would not be read", Hint: "its name has to end with .yaml"})
		}
	}
	return names, errs
}

// idle reports whether all that a file says is commented out. One that is empty is none: it may
// have been cut.
func (p place) idle(name string) bool {
	data, err := p.read(name)
	for line := range bytes.Lines(data) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return err == nil && len(data) > 0
}

// put puts the jails of next over those of j.
func (j rawJails) put(next rawJails) {
	for name, jail := range next {
		if before, ok := j[name]; ok {
			jail.V = before.V.over(jail.V)
		}
		j[name] = jail
	}
}

func (p place) decode(name string, v any) yamldoc.Errors {
	data, err := p.read(name)
	if err != nil {
		bad := &yamldoc.Error{File: p.show(name), Msg: reason(err)}
		if errors.Is(err, errNoFile) {
			bad.Hint = "name a file, as /etc/xdpban/xdpban.yaml; " + importHint
		}
		return yamldoc.Errors{bad}
	}
	errs := wrong(yamldoc.Decode(p.show(name), data, v))
	if len(errs) > 0 && section.Get().Match(data) {
		errs[0].Hint = importHint
	}
	return errs
}

// importHint is for who gives us a configuration of fail2ban's.
const importHint = "xdpban import fail2ban DIR -o DIR makes ours of fail2ban's"

// section is what stands in files of fail2ban's, and in none of ours.
var section = lazy.Regexp(`(?m)^\[[A-Za-z0-9_-]+\]\s*$`)

var errNoFile = errors.New("is not a regular file")

// read reads a file, but not much more of it than a document may have. Whatever else the
// name stands for could make us wait for ever.
func (p place) read(name string) ([]byte, error) {
	info, err := fs.Stat(p.fsys, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNoFile
	}
	f, err := p.fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var data bytes.Buffer
	data.Grow(int(min(info.Size(), yamldoc.MaxSize)) + bytes.MinRead)
	_, err = data.ReadFrom(io.LimitReader(f, yamldoc.MaxSize+1))
	return data.Bytes(), err
}

// wrong is err as the Errors that it is, or as one.
func wrong(err error) yamldoc.Errors {
	var errs yamldoc.Errors
	if err != nil && !errors.As(err, &errs) {
		errs = yamldoc.Errors{{Msg: err.Error()}}
	}
	return errs
}

// reason is err without the path that it names and what was done to it.
func reason(err error) string {
	var with *fs.PathError
	if errors.As(err, &with) {
		return with.Err.Error()
	}
	return err.Error()
}
