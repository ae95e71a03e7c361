package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"xdpban/internal/yamldoc"
	"xdpban/jails"
	"xdpban/jails/filter"
)

func checkVerb(p *program) *cobra.Command {
	var dump, all, strict bool
	c := p.looks(&cobra.Command{
		Use:   "check",
		Short: "validate the configuration, run the samples of its filters, find what could be better",
		Long: "Samples are run of the filters of jails; with --all, and where no configuration is given, of all that jails could name.\n" +
			"What could be better is looked for in filters of jails that are on; with --all, in all.\n" +
			"Jails that are off are left at their names; with --all, they are listed like the others.\n" +
			"Findings are no errors unless --strict says so. Each comes with what to write instead.",
		Example: "  xdpban check -c /etc/xdpban/xdpban.yaml\n  xdpban check --all --strict\n  xdpban check --dump",
		Args:    arguments(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if dump && p.json {
				return usage(c, errors.New("check takes --dump or --json, not both"))
			}
			path := p.configPath()
			config, err := jails.Load(path)
			if err == nil && dump {
				return p.dump(config)
			}
			result := examine(configName(path), config, err)
			result.all = all
			if all || path == "" {
				result.library(path, all)
			}
			if err := p.show(result, result.print); err != nil {
				return err
			}
			if len(result.Errors) > 0 || strict && len(result.Findings) > 0 {
				return said(78)
			}
			return nil
		},
	})
	c.Flags().BoolVar(&all, "all", false, "look at all filters that jails could name, list all jails")
	c.Flags().BoolVar(&strict, "strict", false, "take findings for errors")
	c.Flags().BoolVar(&dump, "dump", false, "print the configuration with every default filled in")
	return c
}

func (p *program) dump(config *jails.Config) error {
	text, err := config.Dump()
	if err != nil {
		return err
	}
	_, err = p.stdout.Write(text)
	return err
}

// An examination is what check finds.
type examination struct {
	Config   string       `json:"config"`
	Errors   []mistake    `json:"errors"`
	Findings []remark     `json:"findings"`
	Jails    []jailReport `json:"jails"`
	Filters  int          `json:"filters,omitempty"` // of the library, where it was looked at
	Samples  int          `json:"samples,omitempty"` // of these
	all      bool         // people see jails that are off too
}

// A mistake is where the configuration is wrong, and what to do.
type mistake struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"`
	Jail string `json:"jail,omitempty"`
	Key  string `json:"key,omitempty"`
	Text string `json:"error"`
	Hint string `json:"hint,omitempty"`
}

// A jailReport is one jail of a valid configuration.
type jailReport struct {
	Name    string      `json:"name"`
	Enabled bool        `json:"enabled"`
	Filter  string      `json:"filter"`
	Rules   int         `json:"rules"`
	Slower  []string    `json:"backtracking"` // rules of the engine that backtracks; all others are linear
	Samples int         `json:"samples"`
	Logs    []logReport `json:"logs"`
}

// A logReport is one logpath and how many files it finds.
type logReport struct {
	Path  string `json:"path"`
	Files int    `json:"files"`
}

func examine(name string, config *jails.Config, err error) examination {
	result := examination{Config: name, Errors: []mistake{}, Findings: []remark{}, Jails: []jailReport{}}
	if err != nil {
		result.Errors = mistakes(name, err)
		return result
	}
	tried := make(map[string]bool)
	for _, jail := range config.Jails {
		report := jailReport{Name: jail.Name, Enabled: jail.Enabled, Filter: filter.WithMode(jail.FilterPath, jail.Filter.Mode),
			Rules: len(jail.Filter.Rules()), Slower: backtracking(jail.Filter), Samples: jail.Filter.Samples(), Logs: []logReport{}}
		for _, path := range jail.Logpath {
			files, _ := filepath.Glob(path) // Load has seen that the pattern is good
			report.Logs = append(report.Logs, logReport{path, len(files)})
		}
		result.Jails = append(result.Jails, report)
		if key := jail.FilterPath + jail.Filter.Mode; jail.FilterPath == "" || !tried[key] {
			tried[key] = true
			result.samples(jail.Name, jail.Filter)
			if jail.Enabled {
				result.lint(jail.Name, jail.Filter)
			}
		}
		if jail.Enabled {
			result.lintJail(jail)
		}
	}
	return result
}

func mistakes(name string, err error) []mistake {
	var errs yamldoc.Errors
	if !errors.As(err, &errs) {
		return []mistake{{File: name, Text: err.Error()}}
	}
	list := make([]mistake, len(errs))
	for i, e := range errs {
		list[i] = mistake{e.File, e.Line, e.Jail, e.Key, e.Msg, e.Hint}
	}
	return list
}

func (e examination) print(w io.Writer) {
	for _, m := range e.Errors {
		place := yamldoc.Error{File: m.File, Line: m.Line, Jail: m.Jail, Key: m.Key, Msg: m.Text}
		fmt.Fprintln(w, safe(place.Error()))
		if m.Hint != "" {
			fmt.Fprintf(w, "    hint: %s\n", safe(m.Hint))
		}
	}
	if len(e.Errors) > 0 {
		fmt.Fprintf(w, "\nconfiguration %s: %s\n", safe(e.Config), counted(len(e.Errors), "mistake"))
		return
	}
	fmt.Fprintf(w, "configuration %s: ok\n\n", safe(e.Config))
	e.printJails(w)
	if e.Filters > 0 {
		fmt.Fprintf(w, "\n%s to choose from, %s ok\n", counted(e.Filters, "filter"), counted(e.Samples, "sample"))
	}
	e.printFindings(w)
}

// printJails leaves jails that are off at their names, unless all are asked for.
func (e examination) printJails(w io.Writer) {
	rows := [][]string{{"JAIL", "STATE", "FILTER", "RULES", "ENGINE", "SAMPLES", "LOGS"}}
	var off []string
	for _, j := range e.Jails {
		state := "on"
		if !j.Enabled {
			state = "off"
			off = append(off, j.Name)
		}
		if j.Enabled || e.all {
			rows = append(rows, []string{j.Name, state, safe(j.Filter), number(j.Rules), j.engine(), samplesNote(j.Samples), logNames(j.Logs)})
		}
	}
	if len(rows) > 1 {
		printTable(w, rows)
	} else {
		fmt.Fprintln(w, "no jail is on")
	}
	if !e.all {
		printOff(w, off, "--all says more")
	}
}

// printOff tells of jails that are off by the names of the first few. hint is where all are.
func printOff(w io.Writer, names []string, hint string) {
	if len(names) == 0 {
		return
	}
	const few = 10
	shown, more := names, ""
	if len(names) > few {
		shown, more = names[:few], ", ..."
	}
	fmt.Fprintf(w, "\n%s off (%s): %s%s\n", counted(len(names), "jail"), hint, strings.Join(shown, ", "), more)
}

// backtracking names the rules of f that need the engine that backtracks.
func backtracking(f *filter.Filter) []string {
	names := []string{}
	for _, rule := range f.Rules() {
		if rule.Engine == filter.Backtracking {
			names = append(names, rule.Name)
		}
	}
	return names
}

// engine is which engine the rules of j use.
func (j jailReport) engine() string {
	if len(j.Slower) == 0 {
		return filter.Linear.String()
	}
	const few = 3
	if len(j.Slower) > few {
		return fmt.Sprintf("%s: %d rules", filter.Backtracking, len(j.Slower))
	}
	return fmt.Sprintf("%s: %s", filter.Backtracking, safe(strings.Join(j.Slower, ", ")))
}

func samplesNote(n int) string {
	if n == 0 {
		return "none"
	}
	return number(n) + " ok"
}

func logNames(logs []logReport) string {
	names := make([]string, len(logs))
	for i, log := range logs {
		names[i] = safe(log.Path)
		switch {
		case log.Files == 0:
			names[i] += " (not there yet)"
		case log.Files > 1:
			names[i] += fmt.Sprintf(" (%d files)", log.Files)
		}
	}
	return strings.Join(names, ", ")
}
