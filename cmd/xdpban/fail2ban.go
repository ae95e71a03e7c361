package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"xdpban/internal/lazy"
	"xdpban/jails/fail2ban"
	"xdpban/jails/filter"
)

// fail2banFile is the path of a filter of fail2ban, with options or without.
var fail2banFile = lazy.Regexp(`^(.+\.(?:conf|local))(?:\[.*\])?$`)

// fail2banName is what fail2ban takes for the name of a filter. All else is a regex.
var fail2banName = lazy.Regexp(`(?s)^[\w/.-]+(?:\[.*\])?$`)

// fail2banFilter is what FILTER means where --config is a directory of fail2ban's, or FILTER one
// of its files. It is nil where neither is so.
func (p *program) fail2banFilter(text string, journal bool) (*filter.Filter, error) {
	if !isDir(p.config) {
		path := fail2banFile.Get().FindStringSubmatch(text)
		if path == nil || isRegex(path[1]) {
			return nil, nil
		}
		absolute, err := filepath.Abs(path[1])
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", path[1], err)
		}
		return compiled(fail2ban.Open("."), absolute+strings.TrimPrefix(text, path[1]), journal)
	}
	if !fail2ban.Is(p.config) {
		err := fmt.Errorf("--config: %s is a directory, and not one of fail2ban's", p.config)
		return nil, &failure{2, err, "name a file like " + defaultConfig + ", or a directory like /etc/fail2ban"}
	}
	if !fail2banName.Get().MatchString(text) {
		return fail2ban.Open(p.config).Regex(text, journal)
	}
	return compiled(fail2ban.Open(p.config), text, journal)
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func compiled(config *fail2ban.Config, spec string, journal bool) (*filter.Filter, error) {
	f, err := config.Filter(spec, journal)
	if err != nil {
		return nil, err
	}
	return f.Compile()
}
