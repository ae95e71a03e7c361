package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"xdpban/internal/yamldoc"
	"xdpban/jails"
	"xdpban/jails/filter"
)

// A remark is what is valid and could be better, and what to write instead.
type remark struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line,omitempty"`
	Jail    string `json:"jail,omitempty"`
	Filter  string `json:"filter,omitempty"`
	Rule    string `json:"rule,omitempty"`
	What    string `json:"finding"`
	Instead string `json:"instead"`
}

// samples runs the samples of f, which jail uses.
func (e *examination) samples(jail string, f *filter.Filter) {
	for _, failed := range f.Check() {
		e.Errors = append(e.Errors, mistake{File: failed.File, Line: failed.Line, Jail: jail,
			Text: "sample: " + failed.Msg, Hint: "the line is: " + failed.Text})
	}
}

// lint adds what there is to say about f, which jail uses. What has been said of a rule in
// another mode is not said again.
func (e *examination) lint(jail string, f *filter.Filter) {
	for _, found := range f.Lint() {
		made := remark{found.File, found.Line, jail, f.String(), found.Rule, found.What, found.Instead}
		again := func(other remark) bool {
			return other.File == made.File && other.Line == made.Line && other.Rule == made.Rule && other.What == made.What && made.File != ""
		}
		if !slices.ContainsFunc(e.Findings, again) {
			e.Findings = append(e.Findings, made)
		}
	}
}

// library runs the samples of all filters that jails of the configuration at path can name; lint: and
// looks for what could be better.
func (e *examination) library(path string, lint bool) {
	all, err := jails.Library(path)
	if err != nil {
		for _, m := range mistakes(configName(path), err) {
			if !slices.Contains(e.Errors, m) {
				e.Errors = append(e.Errors, m)
			}
		}
		return
	}
	e.Filters = len(all)
	for _, entry := range all {
		e.Samples += len(entry.Spec.AllSamples())
		for i, mode := range entry.Spec.Modes() {
			f, err := entry.In(mode)
			if err != nil {
				e.Errors = append(e.Errors, mistakes(entry.From, err)...)
				break
			}
			if i == 0 { // Check reads each sample in its own mode
				e.samples("", f)
			}
			if lint {
				e.lint("", f)
			}
		}
	}
}

// sipServers are the daemons whose peers can be forged and are few: filters are named after them.
var sipServers = []string{"asterisk", "kamailio", "opensips", "freeswitch"}

// lintJail looks at what a jail that is on makes of its filter.
func (e *examination) lintJail(jail jails.JailConfig) {
	add := func(what, instead string) {
		e.Findings = append(e.Findings, remark{Jail: jail.Name, What: what, Instead: instead})
	}
	loopback := func(p netip.Prefix) bool { return p.Addr().IsLoopback() }
	other := func(p netip.Prefix) bool { return !loopback(p) }
	if isSIP(jail.Filter.Name) && !slices.ContainsFunc(jail.IgnoreIP, other) {
		add("exempts nobody: whoever forges the source of SIP packets can have your trunks and phones shut out",
			"list their networks in ignoreip")
	}
	for _, prefix := range jail.IgnoreIP {
		if prefix.Bits() < widest(prefix.Addr()) {
			add(fmt.Sprintf("ignoreip holds %v: nobody in so much of the internet is banned", prefix), "name the networks that you know")
		}
	}
	if what, instead := jail.Blind(); what != "" {
		add(what, instead)
	}
	if len(jail.Journal) > 0 {
		add("journalmatch does nothing yet: lines come from the files of logpath alone", "leave it out, or keep it for later")
	}
	for _, pattern := range jail.Logpath {
		if strings.Contains(pattern, "**") {
			add(fmt.Sprintf("log %s: ** looks into one directory, as * does, and not into those below", pattern), "write a pattern for each depth: /srv/*/log, /srv/*/*/log")
		}
		if readsAccessLogs(jail.Filter) && isErrorLog(pattern) {
			add(fmt.Sprintf("log %s: its filter knows lines of access logs; in an error log they are forged, if there are any", pattern),
				"name the access log"+errorLogRules[jail.Filter.Name])
		}
		files, _ := filepath.Glob(pattern) // Load has seen that the pattern is good
		for _, file := range files {
			if what, instead := undated(jail.Filter, file); what != "" {
				add(what, instead)
			}
		}
	}
}

// widest is the length of the widest prefix of addr's kind that one network has: 10.0.0.0/8, fc00::/7.
func widest(addr netip.Addr) int {
	if addr.Is4() {
		return 8
	}
	return 7
}

// accessLogFilters look for lines of access logs alone, which clients cannot forge there. The error log of
// nginx holds whatever line a client wants.
var accessLogFilters = []string{"nginx-http-auth[mode=access]", "nginx-limit-req[mode=access]", "nginx-botsearch", "wordpress", "wordpress[mode=xmlrpc]"}

// errorLogRules are those filters' rules for an error log.
var errorLogRules = map[string]string{
	"nginx-http-auth": "; filter: nginx-http-auth is for the error log",
	"nginx-limit-req": "; filter: nginx-limit-req is for the error log",
}

func readsAccessLogs(f *filter.Filter) bool {
	return f.Spec().Dialect.V == filter.Native && slices.Contains(accessLogFilters, f.String())
}

// isErrorLog tells by the name alone.
func isErrorLog(path string) bool {
	name := strings.ToLower(filepath.Base(path))
	return strings.Contains(name, "error") && !strings.Contains(name, "access")
}

func isSIP(name string) bool {
	return slices.ContainsFunc(sipServers, func(server string) bool { return strings.HasPrefix(name, server) })
}

// undated says what is wrong with the dates in the last lines of the log at path; "": nothing.
func undated(f *filter.Filter, path string) (what, instead string) {
	lines, err := lastLines(path)
	if err != nil {
		return fmt.Sprintf("log %s: %v: nobody knows whether its lines have dates", path, reason(err)), "run check as the daemon runs"
	}
	r := f.NewReader(time.Local)
	read := 0
	for _, line := range lines {
		if len(line) == 0 {
			continue
		}
		read++
		if r.Read(line, time.Now()).Template >= 0 {
			return "", ""
		}
	}
	if read < enoughLines {
		return "", ""
	}
	return fmt.Sprintf("log %s: no date is recognised in any of its last %s: failures count as of when they are read", path, counted(read, "line")),
		"give the filter a datepattern"
}

// What of a log is looked at.
const (
	lastBytes   = 64 << 10
	enoughLines = 3 // fewer say nothing: a line may be the second half of another
)

// lastLines are the last lines of a log, without the first of them, of which a part may be missing.
func lastLines(path string) ([][]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // a pipe would have its reader wait
		return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("is no regular file")}
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	from := max(info.Size()-lastBytes, 0)
	text, err := io.ReadAll(io.NewSectionReader(file, from, lastBytes))
	if err != nil {
		return nil, err
	}
	lines := bytes.Split(text, []byte("\n"))
	if from > 0 {
		lines = lines[1:]
	}
	return lines, nil
}

// printFindings prints what could be better behind what is wrong.
func (e examination) printFindings(w io.Writer) {
	if len(e.Findings) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", counted(len(e.Findings), "finding"))
	for _, f := range e.Findings {
		key := ""
		if f.Rule != "" {
			key = "rule " + f.Rule
		}
		place := yamldoc.Error{File: f.File, Line: f.Line, Jail: f.Jail, Key: key, Msg: f.What}
		fmt.Fprintf(w, "%s\n    instead: %s\n", safe(place.Error()), safe(f.Instead))
	}
}
