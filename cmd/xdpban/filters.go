package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"xdpban/internal/yamldoc"
	"xdpban/jails"
	"xdpban/jails/filter"
)

func filtersVerb(p *program) *cobra.Command {
	return p.looks(&cobra.Command{
		Use:   "filters [NAME]",
		Short: "the filters that jails can name, or one with its rules",
		Long: "Filters are looked for beside the configuration (filters/), in /etc/xdpban/filters, and among those that are built in.\n" +
			"NAME is a filter, name[mode=x], or the path of a filter file.",
		Example: "  xdpban filters\n  xdpban filters sshd\n  xdpban filters asterisk --json",
		Args:    arguments(0, 1, ""),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				f, from, err := p.named(args[0])
				if err != nil {
					return err
				}
				shown := showFilter(f, from)
				return p.show(shown, shown.print)
			}
			library, err := jails.Library(p.configPath())
			if err != nil {
				return err
			}
			list := []libraryFilter{}
			for _, entry := range library {
				list = append(list, libraryEntry(entry))
			}
			return p.show(list, func(w io.Writer) { printLibrary(w, list) })
		},
	})
}

// named is a filter and where it is from.
func (p *program) named(name string) (*filter.Filter, string, error) {
	f, from, err := jails.FindFilter(p.configPath(), name)
	var bad yamldoc.Errors
	if errors.As(err, &bad) && len(bad) == 1 && bad[0].File == "" {
		return nil, "", &failure{2, errors.New(bad[0].Msg), bad[0].Hint}
	}
	return f, from, err
}

// A libraryFilter is one filter, as --json tells it.
type libraryFilter struct {
	Name        string      `json:"name"`
	From        string      `json:"from"`
	Description string      `json:"description"`
	Modes       []string    `json:"modes"`
	Rules       int         `json:"rules"` // of all modes
	Samples     int         `json:"samples"`
	Failregex   []shownRule `json:"failregex,omitempty"` // of the mode asked for
	Longest     int         `json:"longest,omitempty"`
	mode        string
	ignores     int
}

// A shownRule is one rule of a filter.
type shownRule struct {
	Name   string        `json:"name"`
	Trust  filter.Trust  `json:"trust"`
	Engine filter.Engine `json:"engine"`
	Regex  string        `json:"regex"`
}

func libraryEntry(f jails.LibraryFilter) libraryFilter {
	return libraryFilter{Name: f.Name, From: f.From, Description: f.Spec.Description, Modes: f.Spec.Modes(),
		Rules: len(f.Spec.Failregex), Samples: len(f.Spec.AllSamples())}
}

func showFilter(f *filter.Filter, from string) libraryFilter {
	spec := f.Spec()
	shown := libraryEntry(jails.LibraryFilter{Name: f.Name, From: from, Spec: spec})
	if from == f.Name {
		shown.From = "built in"
	}
	shown.mode, shown.Longest, shown.ignores = f.Mode, spec.Longest.V, len(spec.Ignoreregex)
	for _, rule := range f.Rules() {
		shown.Failregex = append(shown.Failregex, shownRule{rule.Name, rule.Trust, rule.Engine, rule.Regex})
	}
	return shown
}

func printLibrary(w io.Writer, list []libraryFilter) {
	rows := [][]string{{"FILTER", "RULES", "MODES", "DESCRIPTION"}}
	for _, f := range list {
		rows = append(rows, []string{safe(f.Name), number(f.Rules), modesNote(f.Modes), safe(f.Description)})
	}
	printTable(w, rows)
}

// modesNote is empty for a filter that has but one set of rules.
func modesNote(modes []string) string {
	if len(modes) == 1 && modes[0] == filter.Normal {
		return ""
	}
	return safe(strings.Join(modes, ", "))
}

func (f libraryFilter) print(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n", safe(filter.WithMode(f.Name, f.mode)), safe(f.Description))
	rows := [][]string{{"from", safe(f.From)}}
	if note := modesNote(f.Modes); note != "" {
		rows = append(rows, []string{"modes", note})
	}
	rows = append(rows, []string{"samples", number(f.Samples)})
	if f.Longest > 0 {
		rows = append(rows, []string{"longest", counted(f.Longest, "byte")})
	}
	if f.ignores > 0 {
		rows = append(rows, []string{"ignoreregex", number(f.ignores)})
	}
	printTable(w, rows)
	fmt.Fprintln(w)
	rows = [][]string{{"RULE", "TRUST", "ENGINE"}}
	for _, rule := range f.Failregex {
		rows = append(rows, []string{safe(rule.Name), rule.Trust.String(), rule.Engine.String()})
	}
	lines := columns(rows)
	fmt.Fprintln(w, lines[0])
	for i, rule := range f.Failregex {
		fmt.Fprintf(w, "%s\n    %s\n", lines[i+1], safe(rule.Regex))
	}
}
