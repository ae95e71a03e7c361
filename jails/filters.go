package jails

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"xdpban/configs"
	"xdpban/internal/yamldoc"
	"xdpban/jails/filter"
)

// systemFilters are the filters of a host's administrator, for any configuration file.
const systemFilters = "/etc/xdpban/filters"

// filters finds filter files by name and reads each once.
type filters struct {
	places []place
	read   map[string]*filterFile
}

// A filterFile is a filter as its file says, or nothing if the file is in error.
type filterFile struct {
	path   string // absolute; or the name of an embedded one
	spec   *filter.Spec
	filter *filter.Filter
}

func newFilters(p place) *filters {
	f := &filters{read: make(map[string]*filterFile)}
	if p.dir != "" {
		f.places = append(f.places,
			directory(filepath.Join(p.dir, "filters"), p.show("filters")),
			directory(systemFilters, systemFilters))
	}
	if embedded, err := fs.Sub(configs.FS, "filters"); err == nil {
		f.places = append(f.places, place{fsys: embedded, shown: "(embedded)/filters"})
	}
	return f
}

func directory(dir, shown string) place { return place{fsys: os.DirFS(dir), dir: dir, shown: shown} }

// filterName keeps names inside the directories of filters.
var filterName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// find is the filter called name, or at the absolute path name. errs are those of its
// file; they come with the first call alone, and file is nil with every one.
func (f *filters) find(name string) (file *filterFile, errs yamldoc.Errors, err error) {
	name, mode, moded := strings.Cut(name, "[")
	if moded {
		return nil, nil, &yamldoc.Error{
			Msg:  fmt.Sprintf("filter %.60q has no mode %.60q", name, strings.TrimPrefix(strings.TrimSuffix(mode, "]"), "mode=")),
			Hint: "a filter has one set of rules: write its name alone",
		}
	}
	if file, ok := f.read[name]; ok {
		return file, nil, nil
	}
	if filepath.IsAbs(name) {
		dir := filepath.Dir(name)
		return f.open(directory(dir, dir), name, filepath.Base(name))
	}
	if !filterName.MatchString(name) {
		return nil, nil, &yamldoc.Error{
			Msg:  fmt.Sprintf("%.60q is no name of a filter", name),
			Hint: "write a name like sshd, or the absolute path of a filter file",
		}
	}
	for _, p := range f.places {
		if _, err := fs.Stat(p.fsys, name+".yaml"); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return f.open(p, name, name+".yaml")
		}
	}
	return nil, nil, &yamldoc.Error{Msg: fmt.Sprintf("there is no filter %q", name), Hint: f.suggest(name)}
}

// open reads a filter file and remembers it as name.
func (f *filters) open(p place, name, base string) (*filterFile, yamldoc.Errors, error) {
	data, err := p.read(base)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %s", p.show(base), reason(err))
	}
	f.read[name] = nil
	spec, err := filter.Parse(p.show(base), data)
	if err != nil {
		return nil, wrong(err), nil
	}
	made, err := filter.New(strings.TrimSuffix(base, ".yaml"), spec)
	if err != nil {
		return nil, wrong(err), nil
	}
	file := &filterFile{path: name, spec: spec, filter: made}
	if p.dir != "" {
		file.path = filepath.Join(p.dir, base)
	}
	f.read[name] = file
	return file, nil, nil
}

// suggest says which filter may have been meant, or where they are looked for.
func (f *filters) suggest(name string) string {
	there := make(map[string]bool)
	for _, p := range f.places {
		found, _ := fs.Glob(p.fsys, "*.yaml") // the pattern is well formed: no error
		for _, file := range found {
			there[strings.TrimSuffix(path.Base(file), ".yaml")] = true
		}
	}
	names := slices.Sorted(maps.Keys(there))
	if near := yamldoc.Near(name, names); near != "" {
		return "did you mean " + near + "?"
	}
	return "there are " + strings.Join(names, ", ")
}
