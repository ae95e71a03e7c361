package fail2ban

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"xdpban/internal/lazy"
	"xdpban/internal/yamldoc"
)

// What a configuration may take of us. Real ones stay far below: values put into values
// can make a short file stand for a text of any length.
const (
	maxFile     = 1 << 20 // bytes of a file
	maxText     = 1 << 18 // bytes of a value with all that it names
	maxIncludes = 200     // files that are read for one
	maxWork     = 1 << 26 // bytes that are copied to put values into values
)

// A config is one or more files read as one: what a later one says is put over what earlier
// ones said.
type config struct {
	defaults *options
	sections map[string]*options
	order    []string // names of sections as they came up
	read     []*ini   // in the order in which they were put
	work     int      // bytes copied so far
}

func newConfig() *config { return &config{defaults: new(options), sections: make(map[string]*options)} }

// known is what sections are called that hold what has been put over.
const known = "KNOWN/"

// A reader reads files, each once.
type reader struct {
	read map[string]*ini
}

// load reads the files of names and what they include. Names of files that are not there
// have to be left out before.
func (r *reader) load(names []string) (*config, error) {
	all, err := r.includes(names, nil)
	if err != nil {
		return nil, err
	}
	c := newConfig()
	for _, name := range all {
		f, err := r.file(name)
		if err != nil {
			return nil, err
		}
		c.put(f)
	}
	return c, nil
}

// file reads one file.
func (r *reader) file(name string) (*ini, error) {
	if f, ok := r.read[name]; ok {
		return f, nil
	}
	data, err := readFile(name)
	if err != nil {
		return nil, yamldoc.Errors{{File: name, Msg: reason(err)}}
	}
	f, err := parse(name, data)
	if err != nil {
		return nil, err
	}
	r.read[name] = f
	return f, nil
}

// readFile reads not much more of a file than it may have. Whatever else the name stands
// for could make us wait for ever.
func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is not a regular file")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// reason is err without the path that it names and what was done to it.
func reason(err error) string {
	var with *fs.PathError
	if errors.As(err, &with) {
		return with.Err.Error()
	}
	return err.Error()
}

// includes lists names, each between what its [INCLUDES] wants before and after it; behind
// each .conf comes the .local of that name, if there is one. within are the files that
// the names are included from: they are not included again.
func (r *reader) includes(names, within []string) ([]string, error) {
	var all []string
	for _, name := range withLocals(names) {
		f, err := r.file(name)
		if err != nil {
			return nil, err
		}
		inner := append(slices.Clip(within), name)
		if len(inner) > maxIncludes {
			return nil, yamldoc.Errors{f.mistake(0, "includes itself", "take the file out of [INCLUDES]: a .local file is read behind its .conf without that")}
		}
		before, err := r.included(f, "before", inner)
		if err != nil {
			return nil, err
		}
		after, err := r.included(f, "after", inner)
		if err != nil {
			return nil, err
		}
		all = slices.Concat(all, before, []string{name}, after)
		if len(all) > maxIncludes {
			return nil, yamldoc.Errors{f.mistake(0, fmt.Sprintf("includes more than %d files", maxIncludes), "")}
		}
	}
	return all, nil
}

// withLocals puts a .local behind the .conf that it belongs to, if there is one.
func withLocals(names []string) []string {
	var all []string
	for _, name := range names {
		all = append(all, name)
		local := strings.TrimSuffix(name, filepath.Ext(name)) + ".local"
		if !slices.Contains(names, local) && isFile(local) {
			all = append(all, local)
		}
	}
	return all
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

// included lists what an option of f's [INCLUDES] names and is there. A .local may be
// missing; other files are meant to be there.
func (r *reader) included(f *ini, option string, within []string) ([]string, error) {
	section := f.section("INCLUDES")
	if section == nil {
		return nil, nil
	}
	own := &config{defaults: &f.defaults.options, sections: map[string]*options{"INCLUDES": &section.options}}
	value, err := own.get("INCLUDES", option, nil)
	if errors.Is(err, errNoOption) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []string
	for _, line := range value.lines() {
		name := line.Text
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(f.name), name)
		}
		if slices.Contains(within, name) {
			continue
		}
		if !isFile(name) {
			if filepath.Ext(name) == ".local" {
				continue
			}
			return nil, yamldoc.Errors{{File: line.File, Line: line.Line, Key: key("INCLUDES", option), Msg: fmt.Sprintf("there is no file %s", name)}}
		}
		more, err := r.includes([]string{name}, within)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

// conditional names a section whose options hold under a condition: [Init?family=inet6].
var conditional = lazy.Regexp(`^([0-9A-Za-z_]+)(\?.+)$`)

// put puts f over c. What it hides of a section stays known.
func (c *config) put(f *ini) {
	c.read = append(c.read, f)
	c.defaults.update(&f.defaults.options)
	for _, s := range f.sections {
		name, own := s.name, &s.options
		if m := conditional.Get().FindStringSubmatch(name); m != nil {
			name, own = m[1], new(options)
			for _, option := range s.names {
				own.set(option+m[2], s.values[option])
			}
		}
		before, ok := c.sections[name]
		if !ok {
			c.sections[name] = own.clone()
			c.order = append(c.order, name)
			continue
		}
		hidden := c.section(known + name)
		for _, option := range before.names {
			if own.has(option) {
				hidden.set(option, before.values[option])
			}
		}
		before.update(own)
	}
}

// works reports whether n more bytes may be copied, into a text of length bytes.
func (c *config) works(n, length int) bool {
	c.work += n
	return c.work <= maxWork && length <= maxText
}

// section is the section called name, made if need be.
func (c *config) section(name string) *options {
	if c.sections[name] == nil {
		c.sections[name] = new(options)
	}
	return c.sections[name]
}
