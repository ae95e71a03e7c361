package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"xdpban/internal/ban"
	"xdpban/internal/control"
)

func statusVerb(p *program) *cobra.Command {
	return p.looks(&cobra.Command{
		Use:     "status [JAIL]",
		Short:   "how bans are enforced, what the jails count, how far behind the logs are",
		Example: "  xdpban status\n  xdpban status sshd\n  xdpban status --json",
		Args:    arguments(0, 1, ""),
		RunE: func(c *cobra.Command, args []string) error {
			client, err := p.client()
			if err != nil {
				return err
			}
			status, err := client.Status(c.Context())
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return p.show(status, func(w io.Writer) { printStatus(w, status, time.Now()) })
			}
			i := slices.IndexFunc(status.Jails, func(j control.Jail) bool { return j.Name == args[0] })
			if i < 0 {
				return &failure{2, fmt.Errorf("there is no jail %q", args[0]), "xdpban status lists them"}
			}
			jail := status.Jails[i]
			return p.show(jail, func(w io.Writer) { printJail(w, jail, time.Now()) })
		},
	})
}

func printStatus(w io.Writer, s control.Status, now time.Time) {
	fmt.Fprintf(w, "xdpban %s, up %s, pid %d, configuration %s\n", s.Version, span(now.Sub(s.Since)), s.PID, safe(s.Config))
	fmt.Fprintf(w, "%s bans in force, %s made; %s packets dropped (%s)\n",
		number(s.Bans.Live), number(s.Bans.Total), number(s.Packets.Dropped), size(s.Packets.DroppedBytes))
	if s.Bans.Refused > 0 {
		fmt.Fprintf(w, "REFUSED: %s that logs led to, for want of room: raise maxbans\n", counted(int(s.Bans.Refused), "ban"))
	}
	if s.Bans.Missing > 0 {
		fmt.Fprintf(w, "LOST: %s bans left the kernel before they ended: raise maxbans\n", number(s.Bans.Missing))
	}
	if s.Bans.Repaired > 0 {
		fmt.Fprintf(w, "PUT BACK: %s that the kernel had lost, %s of them for want of room\n", counted(int(s.Bans.Repaired), "ban"), number(s.Bans.Evicted))
	}
	if s.Bans.Unknown > 0 {
		fmt.Fprintf(w, "UNKNOWN: %s in the kernel that nobody wants: xdpban verify lists them\n", counted(s.Bans.Unknown, "ban"))
	}
	if s.Chain.Mended > 0 {
		fmt.Fprintf(w, "PUT BACK: the chain, %s, last %s: %s\n", times(int(s.Chain.Mended)), ago(s.Chain.At, now), safe(s.Chain.Last))
	}
	for _, fault := range s.Faults {
		fmt.Fprintf(w, "FAULT: %s\n", safe(fault))
	}

	fmt.Fprintln(w)
	rows := [][]string{{"INTERFACE", "MODE", "SINCE", "WHY"}}
	for _, i := range s.Interfaces {
		rows = append(rows, []string{safe(i.Name), i.Mode, ago(i.Since, now), safe(strings.Join(i.Reasons, "; "))})
	}
	printTable(w, rows)
	for _, note := range s.Chain.Notes {
		fmt.Fprintf(w, "%s\n", safe(note))
	}

	fmt.Fprintln(w)
	rows = [][]string{{"TABLE", "USED", "ROOM", "BY"}}
	for _, r := range s.Rooms {
		rows = append(rows, []string{r.Of, number(r.Used), number(r.Max), r.Key})
	}
	printTable(w, rows)

	fmt.Fprintln(w)
	rows = [][]string{{"JAIL", "BANS", "MADE", "MATCHED", "LINES", "COUNTING", "LAST MATCH", "LAG"}}
	var off []string
	for _, j := range s.Jails {
		switch {
		case j.Enabled:
			rows = append(rows, []string{j.Name, number(j.Bans), number(j.Banned),
				number(j.Matched), number(j.Lines), number(j.Sources), ago(j.LastMatch, now), lag(j.Logs)})
		case j.Bans > 0:
			rows = append(rows, []string{j.Name + " (off)", number(j.Bans)})
		default:
			off = append(off, j.Name)
		}
	}
	for _, o := range s.Others {
		what := " (gone)"
		if o.Name == ban.ByHand {
			what = " (by hand)"
		}
		rows = append(rows, []string{safe(o.Name) + what, number(o.Bans)})
	}
	printTable(w, rows)
	printOff(w, off, "xdpban check --all lists them")
}

// lag is how far behind the logs of a jail are, and what is wrong with them. Of the paths of a jail a host may have one
// alone: that others were never read is no more than said.
func lag(logs []control.Log) string {
	var behind int64
	var unread []control.Log
	for _, log := range logs {
		if log.Problem != "" {
			unread = append(unread, log)
		}
		behind += log.Lag
	}
	for _, log := range unread {
		if log.Lines > 0 || len(unread) == len(logs) {
			return "see: " + safe(log.Path) + ": " + safe(log.Problem)
		}
	}
	much := "none"
	if behind > 0 {
		much = size(uint64(behind))
	}
	if len(unread) > 0 {
		much += fmt.Sprintf(" (%d of %d logs not read)", len(unread), len(logs))
	}
	return much
}

func printJail(w io.Writer, j control.Jail, now time.Time) {
	if !j.Enabled {
		fmt.Fprintf(w, "%s is off; filter %s; %s in force\n", j.Name, safe(j.Filter), counted(j.Bans, "ban"))
		return
	}
	printTable(w, [][]string{
		{"jail", j.Name},
		{"filter", safe(j.Filter)},
		{"bans in force", number(j.Bans)},
		{"bans made", number(j.Banned)},
		{"lines read", number(j.Lines)},
		{"matched", number(j.Matched)},
		{"ignored by ignoreregex", number(j.Ignored)},
		{"from allowed addresses", number(j.Allowed)},
		{"untrusted addresses", number(j.Untrusted)},
		{"names, not addresses", number(j.Names)},
		{"too old when read", number(j.Stale)},
		{"a regex took too long", number(j.TimedOut)},
		{"sources counted now", number(j.Sources)},
		{"sources forgotten", number(j.Forgotten)},
		{"last match", ago(j.LastMatch, now)},
	})

	fmt.Fprintln(w)
	rows := [][]string{{"LOG", "LINES", "TOO LONG", "TORN", "SKIPPED", "LAG", "LAST LINE", "WOKEN BY", "PROBLEM"}}
	for _, log := range j.Logs {
		rows = append(rows, []string{safe(log.Path), number(log.Lines), number(log.TooLong), number(log.Torn), size(log.Skipped),
			lag([]control.Log{{Lag: log.Lag}}), ago(log.Last, now), safe(log.Waking), safe(log.Problem)})
	}
	printTable(w, rows)
}
