package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"xdpban/jails"
	"xdpban/jails/filter"
)

func explainVerb(p *program) *cobra.Command {
	var now, zone string
	c := p.looks(&cobra.Command{
		Use:   "explain LINE",
		Short: "which filters and rules see a line of a log, and why the others do not",
		Example: "  xdpban explain 'Nov  9 18:47:21 h sshd[1]: Failed password for root from 192.0.2.7 port 4242 ssh2'\n" +
			"  xdpban explain --json \"$(tail -1 /var/log/auth.log)\"",
		Args: arguments(1, 1, "LINE, in quotes"),
		RunE: func(c *cobra.Command, args []string) error {
			at, place, err := when(c, now, zone)
			if err != nil {
				return err
			}
			line := strings.TrimRight(args[0], "\r\n")
			e := explanation{Line: line, Seen: []sighting{}, Near: []filterMiss{}, Others: []string{}, now: at, zone: place}
			e.dissect()
			candidates, err := p.candidates()
			if err != nil {
				return err
			}
			for _, candidate := range candidates {
				e.ask(candidate)
			}
			e.sort()
			return p.show(e, e.print)
		},
	})
	c.Flags().StringVar(&now, "now", "", "take `EPOCH` seconds as the time it is")
	c.Flags().StringVar(&zone, "tz", "", "`ZONE` of dates that name none, as Europe/Zurich (default: local)")
	return c
}

// A candidate is a filter in all its modes, and the jails that use it.
type candidate struct {
	name  string
	modes []*filter.Filter
	jails map[string][]string // enabled ones, by mode
}

// candidates are the filters of the library, and those that stand in a jail itself.
func (p *program) candidates() ([]candidate, error) {
	library, err := jails.Library(p.configPath())
	if err != nil {
		return nil, err
	}
	config, err := jails.Load(p.configPath())
	if err != nil {
		return nil, err
	}
	var all []candidate
	for _, entry := range library {
		c := candidate{name: entry.Name, jails: make(map[string][]string)}
		for _, mode := range entry.Spec.Modes() {
			made, err := entry.In(mode)
			if err != nil {
				return nil, err
			}
			c.modes = append(c.modes, made)
		}
		all = append(all, c)
	}
	for _, jail := range config.Jails {
		i := slices.IndexFunc(all, func(c candidate) bool { return c.name == jail.Filter.Name && jail.FilterPath != "" })
		switch {
		case jail.FilterPath == "":
			all = append(all, candidate{"jail " + jail.Name, []*filter.Filter{jail.Filter}, map[string][]string{jail.Filter.Mode: {jail.Name}}})
		case i >= 0 && jail.Enabled:
			all[i].jails[jail.Filter.Mode] = append(all[i].jails[jail.Filter.Mode], jail.Name)
		}
	}
	return all, nil
}

// An explanation is what is known of a line, as --json tells it.
type explanation struct {
	Line     string       `json:"line"`
	Date     string       `json:"date,omitempty"`
	Template string       `json:"template,omitempty"`
	Time     *time.Time   `json:"time,omitempty"`
	Header   string       `json:"header,omitempty"`
	Message  string       `json:"message"`
	Seen     []sighting   `json:"seen"`
	Near     []filterMiss `json:"near"`
	Others   []string     `json:"others"` // filters that have nothing in common with the line

	now  time.Time
	zone *time.Location
}

// A sighting is a filter that matches.
type sighting struct {
	Filter  string         `json:"filter"`
	Rule    string         `json:"rule"`
	Trust   filter.Trust   `json:"trust"`
	ID      string         `json:"id"`
	Ignored bool           `json:"ignored,omitempty"`
	Groups  map[string]any `json:"groups"`
	Jails   []string       `json:"jails"`
	named   bool           // ID is no address
}

// A filterMiss is a filter that does not match, and where its best rule stopped.
type filterMiss struct {
	Filter string `json:"filter"`
	nearMiss
}

func (e *explanation) dissect() {
	parts := filter.Dissect([]byte(e.Line), e.zone, e.now)
	e.Date, e.Template, e.Header, e.Message = parts.Date, parts.Template, strings.TrimSpace(parts.Header), parts.Message
	if parts.Dated {
		e.Time = &parts.Time
	}
}

// ask has a filter look at the line, in its modes until one of them sees it.
func (e *explanation) ask(c candidate) {
	var best *filterMiss
	seen := make(map[string]bool)
	for _, f := range c.modes {
		name := filter.WithMode(c.name, f.Mode)
		reader := f.NewReader(e.zone)
		result := reader.Read([]byte(e.Line), e.now)
		if result.Outcome == filter.Missed || result.Rule < 0 {
			if near, ok := filter.NewSearcher(f.NewReader(e.zone)).NearMiss([]byte(e.Line), e.now); ok && (best == nil || near.Score > best.score) {
				best = &filterMiss{name, nearMiss{f.Rules()[near.Rule].Name, near.At, near.Want, near.Behind, near.Score}}
			}
			continue
		}
		rule := f.Rules()[result.Rule]
		on := c.jails[f.Mode]
		if seen[rule.Name] && len(on) == 0 {
			continue
		}
		seen[rule.Name] = true
		e.Seen = append(e.Seen, sighting{name, rule.Name, rule.Trust, result.ID(), result.Outcome == filter.Ignored,
			reader.Groups(), append([]string{}, on...), !result.Addr.IsValid()})
	}
	switch {
	case len(seen) > 0:
	case best != nil:
		e.Near = append(e.Near, *best)
	default:
		e.Others = append(e.Others, c.name)
	}
}

// sort puts those first that came furthest.
func (e *explanation) sort() {
	slices.SortStableFunc(e.Near, func(a, b filterMiss) int { return cmp.Compare(b.score, a.score) })
}

func (e explanation) print(w io.Writer) {
	rows := [][]string{{"line", safe(e.Line)}, {"date", e.dateNote()}}
	if e.Header != "" {
		rows = append(rows, []string{"header", safe(e.Header)})
	}
	printTable(w, append(rows, []string{"message", safe(e.Message)}))
	fmt.Fprintln(w)
	e.printSeen(w)
	e.printNear(w)
	if len(e.Others) > 0 {
		fmt.Fprintf(w, "\nNothing in common with it: %s\n", safe(strings.Join(e.Others, ", ")))
	}
}

func (e explanation) dateNote() string {
	switch {
	case e.Date == "":
		return "none is found at its start: it counts as of when it is read"
	case e.Time == nil:
		return fmt.Sprintf("%s, which is no day or hour: it counts as of when it is read", safe(e.Date))
	}
	return fmt.Sprintf("%s  (%s)", e.Time.Format("2006-01-02 15:04:05 -0700"), e.Template)
}

func (e explanation) printSeen(w io.Writer) {
	if len(e.Seen) == 0 {
		fmt.Fprintln(w, "No filter sees it.")
		return
	}
	rows := [][]string{{"SEEN BY", "RULE", "WHO", "TRUST", "JAILS THAT ARE ON"}}
	for _, s := range e.Seen {
		who := safe(s.ID)
		if s.named {
			who += " (a name: never banned)"
		}
		note := strings.Join(s.Jails, ", ")
		if s.Ignored {
			note = "none: taken out by ignoreregex"
		}
		rows = append(rows, []string{safe(s.Filter), safe(s.Rule), who, s.Trust.String(), note})
	}
	printTable(w, rows)
}

func (e explanation) printNear(w io.Writer) {
	if len(e.Near) == 0 {
		return
	}
	fmt.Fprintln(w, "\nNot seen by, and where the rule that came furthest stopped:")
	fmt.Fprintf(w, "  %s\n", safe(e.Line))
	for _, near := range e.Near {
		where := ""
		if near.Behind {
			where = " from here on"
		}
		fmt.Fprintf(w, "  %*s^ %s, %s: wants %s%s\n", utf8.RuneCountInString(safe(e.Line[:near.At])), "", safe(near.Filter), safe(near.Rule), safe(near.Want), where)
	}
}
