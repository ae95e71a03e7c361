// Package fail2ban reads an existing fail2ban configuration: its filters, as fail2ban would
// expand them, and its jails; and writes both as ours.
//
// A value goes through the steps that it goes through in fail2ban 1.0: the files are read
// and put one over the other (config.go), %(name)s is put in when an option is asked for
// (interpolate.go), and <name> at the end (tags.go), so that a filter's tags may be chosen
// by what a jail says. Source: man jail.conf(5), and fail2ban 1.0.2's behaviour, which a test
// compares with ours for every filter and jail of a host.
package fail2ban

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"xdpban/internal/yamldoc"
)

// A Config is a directory like /etc/fail2ban.
type Config struct {
	dir         string
	reader      reader
	followFiles bool // jails that read the journal are to read files
}

// filters is the directory of filters in a Config's.
const filters = "filter.d"

// Is reports whether dir looks like a configuration of fail2ban.
func Is(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, filters))
	return err == nil && info.IsDir()
}

// Open is the configuration in dir. Nothing of it is read yet.
func Open(dir string) *Config {
	return &Config{dir: filepath.Clean(dir), reader: reader{read: make(map[string]*ini)}}
}

// Filter is a filter as a jail names it, sshd or sshd[mode=aggressive], or one at a path. With
// journal it is for lines of the journal, which have another prefix than those of files. The
// error is a yamldoc.Errors.
func (c *Config) Filter(spec string, journal bool) (*Filter, error) {
	d, err := c.definition(spec)
	if err != nil {
		return nil, err
	}
	if err := d.unknownChoice(); err != nil {
		return nil, err
	}
	return d.filter(journal)
}

// filter is d made ready, for files or the journal.
func (d *definition) filter(journal bool) (*Filter, error) {
	d.logtype(journal)
	if err := d.readOptions(new(options), false); err != nil {
		return nil, err
	}
	values, err := d.combined()
	if err != nil {
		return nil, err
	}
	return finish(d.name, values)
}

// definition reads the files of a filter.
func (c *Config) definition(spec string) (*definition, error) {
	name, asked, err := splitSpec(spec)
	if err != nil {
		return nil, yamldoc.Errors{{Msg: fmt.Sprintf("filter %.60q: %s", spec, err)}}
	}
	path, dir := name, c.dir
	name = strings.TrimSuffix(strings.TrimSuffix(filepath.Base(path), ".conf"), ".local")
	files := []string{path}
	if strings.Contains(path, "/") {
		dir = filepath.Dir(filepath.Dir(path))
	}
	if path == filepath.Base(path) || filepath.Base(filepath.Dir(path)) == filters {
		files = filesOf(filepath.Join(dir, filters, name))
	}
	if len(files) == 0 {
		return nil, yamldoc.Errors{{Msg: fmt.Sprintf("there is no filter %.60q in %s", name, filepath.Join(dir, filters)), Hint: c.suggest(name)}}
	}
	read, err := c.reader.load(files)
	if err != nil {
		return nil, err
	}
	if read.sections["Definition"] == nil {
		return nil, yamldoc.Errors{{File: files[0], Msg: "has no [Definition]"}}
	}
	return &definition{config: read, name: name, file: files[0], asked: asked, cache: make(map[string]text)}, nil
}

// filesOf are those that are there of what fail2ban reads for a name: base.conf, base.d/*.conf,
// base.local, base.d/*.local.
func filesOf(base string) []string {
	var list []string
	for _, ext := range []string{".conf", ".local"} {
		if isFile(base + ext) {
			list = append(list, base+ext)
		}
		more, _ := filepath.Glob(filepath.Join(escape(base+".d"), "*"+ext)) // sorted
		list = append(list, slices.DeleteFunc(more, func(file string) bool { return !isFile(file) })...)
	}
	return list
}

// escape takes the meaning off what means something in a pattern of file names.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// suggest says which filter may have been meant.
func (c *Config) suggest(name string) string {
	found, _ := filepath.Glob(filepath.Join(escape(c.dir), filters, "*.conf"))
	for i, file := range found {
		found[i] = strings.TrimSuffix(filepath.Base(file), ".conf")
	}
	if near := yamldoc.Near(name, found); near != "" {
		return "did you mean " + near + "?"
	}
	return ""
}
