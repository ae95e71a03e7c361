package jails

import (
	"errors"
	"path/filepath"
	"strings"

	"xdpban/internal/yamldoc"
	"xdpban/jails/filter"
)

// FindFilter finds a filter as a jail of the configuration file config would (see Load),
// or in the file that name is the path of; behind either may stand a mode, as in
// sshd[mode=ddos]. It says too where the filter is from. The error
// is a yamldoc.Errors.
func FindFilter(config, name string) (f *filter.Filter, from string, err error) {
	bare, mode, err := filter.SplitMode(name)
	if err == nil && (strings.Contains(bare, "/") || strings.HasSuffix(bare, ".yaml")) {
		if bare, err = filepath.Abs(bare); err != nil {
			return nil, "", yamldoc.Errors{{File: name, Msg: err.Error()}}
		}
		name = filter.WithMode(bare, mode)
	}
	p, err := around(config)
	if err != nil {
		return nil, "", err
	}
	file, errs, err := newFilters(p).find(name)
	var one *yamldoc.Error
	if errors.As(err, &one) {
		return nil, "", yamldoc.Errors{one}
	}
	if err != nil {
		return nil, "", wrong(err)
	}
	if err := errs.Err(); err != nil {
		return nil, "", err
	}
	return file.filter, file.path, nil
}
