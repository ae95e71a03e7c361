package jails

import (
	"errors"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"xdpban/internal/yamldoc"
	"xdpban/jails/filter"
)

// A LibraryFilter is a filter that jails can name.
type LibraryFilter struct {
	Name string
	From string // a path, or "built in"
	Spec *filter.Spec
}

// In is f in one of its modes. The error is a yamldoc.Errors.
func (f LibraryFilter) In(mode string) (*filter.Filter, error) {
	return filter.New(f.Name, f.Spec, mode)
}

// Library is all filters that jails of the configuration file config can name, by name; see Load for
// where they are looked for. The error is a yamldoc.Errors with all that is wrong with any of them.
func Library(config string) ([]LibraryFilter, error) {
	p, err := around(config)
	if err != nil {
		return nil, err
	}
	found := make(map[string]LibraryFilter)
	var errs yamldoc.Errors
	for _, p := range newFilters(p).places {
		entries, err := fs.Glob(p.fsys, "*.yaml")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, wrong(err)
		}
		for _, entry := range entries {
			name := strings.TrimSuffix(path.Base(entry), ".yaml")
			if _, hidden := found[name]; hidden || !filterName.Get().MatchString(name) {
				continue
			}
			made, bad := p.library(name, entry)
			errs = append(errs, bad...)
			found[name] = made
		}
	}
	var list []LibraryFilter
	for _, name := range slices.Sorted(maps.Keys(found)) {
		list = append(list, found[name])
	}
	return list, errs.Err()
}

// library reads one file of p.
func (p place) library(name, file string) (LibraryFilter, yamldoc.Errors) {
	spec, errs, err := p.spec(file)
	if err != nil {
		return LibraryFilter{}, yamldoc.Errors{{File: p.show(file), Msg: reason(err)}}
	}
	if len(errs) > 0 {
		return LibraryFilter{}, errs
	}
	from := "built in"
	if p.dir != "" {
		from = p.show(file)
	}
	return LibraryFilter{name, from, spec}, nil
}

// spec reads the filter file base of p. errs are what is wrong in it, err says why it cannot be read.
func (p place) spec(base string) (spec *filter.Spec, errs yamldoc.Errors, err error) {
	if p.dir == "" {
		spec, err = filter.ParseBuiltIn(p.fsys, base, p.show(base))
		return spec, wrong(err), nil
	}
	data, err := p.read(base)
	if err != nil {
		return nil, nil, err
	}
	spec, err = filter.Parse(p.show(base), data)
	errs = wrong(err)
	if len(errs) > 0 && section.Get().Match(data) {
		errs[0].Hint = importHint
	}
	return spec, errs, nil
}

// around is the directory of the configuration file config; empty where there is none.
func around(config string) (place, error) {
	if config == "" {
		return place{}, nil
	}
	dir, err := filepath.Abs(filepath.Dir(config))
	if err != nil {
		return place{}, yamldoc.Errors{{File: config, Msg: err.Error()}}
	}
	return place{dir: dir, shown: filepath.Dir(config)}, nil
}
