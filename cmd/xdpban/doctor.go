package main

import (
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"xdpban/internal/control"
	"xdpban/internal/daemon"
	"xdpban/internal/doctor"
	"xdpban/jails"
)

func doctorVerb(p *program) *cobra.Command {
	return p.looks(&cobra.Command{
		Use:   "doctor",
		Short: "what this host can do to keep bans in force, and what stands in the way",
		Long: "Tries what the daemon would do, where no packet comes by and nothing is left behind: the kernel program and its maps,\n" +
			"iptables and its sets. Looks at interfaces, logs, their rotation and the clock.\nEnds with 1 where something keeps bans from being in force.",
		Example: "  xdpban doctor\n  xdpban doctor --json",
		Args:    arguments(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := jails.Load(p.configPath())
			if err != nil {
				return err
			}
			if p.socket != "" {
				config.Socket = p.socket
			}
			allowed, unknown := daemon.NeverBanned(config.IgnoreIP)
			findings := doctor.Examine(c.Context(), doctor.Host{
				Config: config, Client: control.NewClient(config.Socket), Allowed: allowed, Unknown: unknown, Now: time.Now(),
			})
			if err := p.show(findings, func(w io.Writer) { printFindings(w, findings) }); err != nil {
				return err
			}
			if slices.ContainsFunc(findings, func(f doctor.Finding) bool { return f.State == doctor.Bad }) {
				return said(1)
			}
			return nil
		},
	})
}

// marks of findings that are more than a fact.
var marks = map[doctor.State]string{doctor.OK: "", doctor.Note: "note", doctor.Bad: "BAD"}

// printFindings shows a line for each, and below those that need it what follows and what to do.
func printFindings(w io.Writer, findings []doctor.Finding) {
	var rows [][]string
	for _, f := range findings {
		rows = append(rows, []string{safe(f.About), marks[f.State], safe(f.Found)})
		if f.Meaning != "" {
			rows = append(rows, []string{"", "", "  so:   " + safe(f.Meaning)})
		}
		if f.Next != "" {
			rows = append(rows, []string{"", "", "  next: " + safe(f.Next)})
		}
	}
	printTable(w, rows)
}
