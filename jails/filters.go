package jails

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"xdpban/configs"
	"xdpban/internal/lazy"
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
	path string // absolute; or the name of an embedded one
	spec *filter.Spec
	made map[string]*filter.Filter // by mode
}

// A namedFilter is a filterFile in the mode that was asked for.
type namedFilter struct {
	*filterFile
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
var filterName = lazy.Regexp(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// find is the filter that text names, by its name or an absolute path, and in a mode. errs are
// those of its file; they come with the first call alone, and found is nil with every one.
func (f *filters) find(text string) (found *namedFilter, errs yamldoc.Errors, err error) {
	name, mode, err := filter.SplitMode(text)
	if err != nil {
		return nil, nil, err
	}
	file, errs, err := f.file(name)
	if file == nil {
		return nil, errs, err
	}
	if err := file.spec.NoMode(name, mode); err != nil {
		return nil, nil, err
	}
	made, err := file.in(mode)
	if err != nil {
		return nil, wrong(err), nil
	}
	return &namedFilter{file, made}, nil, nil
}

// in is the filter of file in a mode.
func (file *filterFile) in(mode string) (*filter.Filter, error) {
	if made := file.made[mode]; made != nil {
		return made, nil
	}
	made, err := filter.New(filterNamed(file.path), file.spec, mode)
	if err != nil {
		return nil, err
	}
	file.made[mode] = made
	return made, nil
}

// filterNamed is the name of the filter in the file at path.
func filterNamed(file string) string { return strings.TrimSuffix(path.Base(file), ".yaml") }

// file is the filter file called name.
func (f *filters) file(name string) (file *filterFile, errs yamldoc.Errors, err error) {
	if file, ok := f.read[name]; ok {
		return file, nil, nil
	}
	if filepath.IsAbs(name) {
		dir := filepath.Dir(name)
		return f.open(directory(dir, dir), name, filepath.Base(name))
	}
	if !filterName.Get().MatchString(name) {
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
	spec, errs, err := p.spec(base)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %s", p.show(base), reason(err))
	}
	f.read[name] = nil
	if len(errs) > 0 {
		return nil, errs, nil
	}
	file := &filterFile{path: name, spec: spec, made: make(map[string]*filter.Filter)}
	if p.dir != "" {
		file.path = filepath.Join(p.dir, base)
		// Compiled once here, in whichever mode: what is wrong with its regexes is said once.
		if _, err := file.in(spec.Modes()[0]); err != nil {
			return nil, wrong(err), nil
		}
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
	// There are too many to tell all.
	names = slices.DeleteFunc(names, func(other string) bool { return other[0] != name[0] })
	if len(names) == 0 {
		return fmt.Sprintf("none begins with %c", name[0])
	}
	return fmt.Sprintf("with %c there are %s", name[0], strings.Join(names, ", "))
}
