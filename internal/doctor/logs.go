package doctor

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"xdpban/internal/control"
)

// Where rules of logrotate(8) are.
var logrotateFiles = []string{"/etc/logrotate.conf", "/etc/logrotate.d/*"}

// logs says for each watched log when its last line came, and how it is rotated.
func (e *examination) logs() {
	truncated := copyTruncated(logrotateFiles)
	if e.status == nil {
		for _, j := range e.Config.Jails {
			if j.Enabled {
				e.unfollowed(j.Name, j.Logpath, truncated)
			}
		}
		return
	}
	for _, j := range e.status.Jails {
		if !j.Enabled {
			continue
		}
		for _, log := range j.Logs {
			e.followed(j, log)
			e.rotation(log.Path, truncated)
		}
		if j.Stale > 0 {
			e.add(Note, "log of "+j.Name, fmt.Sprintf("%d matches were too old to count when they were read", j.Stale),
				"who writes them has another clock or time zone, or wrote late", "compare a line's date with date(1); see logtimezone")
		}
	}
}

func (e *examination) followed(j control.Jail, log control.Log) {
	about := "log of " + j.Name
	match := "no match yet"
	if !j.LastMatch.IsZero() {
		match = "last match " + e.ago(j.LastMatch)
	}
	switch {
	case log.Problem != "" && absent(log.Path) && slices.ContainsFunc(j.Logs, followed):
		e.add(Note, about, log.Path+": there is no such file", "the daemon waits for it, and follows another of the jail's", "nothing, if this host has no such log; else see logpath")
	case log.Problem != "":
		e.add(Bad, about, log.Path+": "+log.Problem, "attackers who are in no other log are not found", "see logpath")
	case log.Last.IsZero():
		e.add(Note, about, log.Path+": no line since the daemon started, "+match, "attackers who are in another file are not found", "see whether it is the right one: xdpban explain")
	default:
		e.add(OK, about, fmt.Sprintf("%s: last line %s, %s", log.Path, e.ago(log.Last), match), "", "")
	}
}

func followed(log control.Log) bool { return log.Problem == "" }

// absent reports whether nothing is at path, or matches it.
func absent(path string) bool {
	paths, err := filepath.Glob(path)
	return err == nil && len(paths) == 0
}

// unfollowed looks at the logs of a jail itself, as no daemon does.
func (e *examination) unfollowed(jail string, patterns, truncated []string) {
	about := "log of " + jail
	for _, pattern := range patterns {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			e.add(Note, about, pattern+": there is no such file", "a daemon waits for it", "see logpath")
			continue
		}
		for _, path := range paths {
			info, err := os.Stat(path)
			if err != nil {
				e.add(Note, about, err.Error(), "a daemon waits for it", "see logpath")
				continue
			}
			e.add(OK, about, path+": written "+e.ago(info.ModTime()), "", "")
			e.rotation(path, truncated)
		}
	}
}

func (e *examination) rotation(path string, truncated []string) {
	for _, pattern := range truncated {
		if same, _ := filepath.Match(pattern, path); same || pattern == path {
			e.add(Note, "logrotate", path+" is rotated by copytruncate", "lines written between the copy and the truncation are lost to everybody", "use create, and have its daemon open the log anew")
		}
	}
}

func (e *examination) ago(t time.Time) string {
	return e.Now.Sub(t).Round(time.Second).String() + " ago"
}

// copyTruncated lists the paths and patterns that the files have rotated by copytruncate. A
// file that cannot be read has none.
func copyTruncated(globs []string) []string {
	var found []string
	for _, glob := range globs {
		paths, err := filepath.Glob(glob)
		if err != nil {
			continue
		}
		for _, path := range paths {
			if text, err := os.ReadFile(path); err == nil {
				found = append(found, parseLogrotate(string(text))...)
			}
		}
	}
	return found
}

// parseLogrotate lists the patterns of those blocks in text that say copytruncate, see
// logrotate.conf(5): patterns, over one or more lines, then directives in braces.
func parseLogrotate(text string) []string {
	var found, patterns []string
	inside, copies, everywhere := false, false, false
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		for _, word := range strings.Fields(strings.NewReplacer("{", " { ", "}", " } ").Replace(line)) {
			switch {
			case word == "{":
				inside, copies = true, everywhere
			case word == "}":
				if copies {
					found = append(found, patterns...)
				}
				inside, patterns = false, nil
			case word == "copytruncate" && !inside:
				everywhere = true
			case word == "copytruncate", word == "nocopytruncate":
				copies = word == "copytruncate"
			case !inside && strings.HasPrefix(strings.Trim(word, `"'`), "/"):
				patterns = append(patterns, strings.Trim(word, `"'`))
			}
		}
	}
	return slices.Compact(found)
}
