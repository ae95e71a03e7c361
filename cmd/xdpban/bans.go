package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"xdpban/internal/control"
)

func bansVerb(p *program) *cobra.Command {
	return p.looks(&cobra.Command{
		Use:     "bans",
		Short:   "who is out, why, for how long, and what was dropped",
		Example: "  xdpban bans\n  xdpban bans --json | jq -r '.[].prefix'",
		Args:    arguments(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := p.client()
			if err != nil {
				return err
			}
			bans, err := client.Bans(c.Context())
			if err != nil {
				return err
			}
			return p.show(bans, func(w io.Writer) { printBans(w, bans, time.Now()) })
		},
	})
}

func printBans(w io.Writer, bans []control.Ban, now time.Time) {
	if len(bans) == 0 {
		fmt.Fprintln(w, "nobody is banned")
		return
	}
	rows := [][]string{{"SOURCE", "JAIL", "REASON", "SINCE", "LEFT", "PACKETS", "BYTES", "LAST SEEN", "REFRESHED"}}
	for _, b := range bans {
		rows = append(rows, []string{short(b.Prefix), safe(b.Jail), safe(b.Reason), ago(b.Since, now),
			span(b.End.Sub(now)), number(b.Packets), size(b.Bytes), ago(b.Seen, now), number(b.Refreshes)})
	}
	printTable(w, rows)
}
