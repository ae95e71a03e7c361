package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"xdpban/internal/yamldoc"
	"xdpban/jails"
)

func dryRunVerb(p *program) *cobra.Command {
	var now, zone string
	var dateless bool
	c := p.looks(&cobra.Command{
		Use:   "dry-run LOG JAIL",
		Short: "whom a jail would have banned for a log, when, and for how long",
		Long: "Counts as the daemon does, by the times that the lines say. LOG is a file, - for standard input, or a line as it is.\n" +
			"JAIL is one of the configuration, enabled or not. Nothing is banned. A line about an address that is out already\n" +
			"stands for a packet of it: it moves the end of the ban as a packet would (quiettime).",
		Example: "  xdpban dry-run /var/log/auth.log sshd\n" +
			"  xdpban dry-run -c new.yaml /var/log/asterisk/messages asterisk --json",
		Args: arguments(2, 2, "LOG and JAIL"),
		RunE: func(c *cobra.Command, args []string) error {
			at, place, err := when(c, now, zone)
			if err != nil {
				return err
			}
			config, err := jails.Load(p.configPath())
			if err != nil {
				return err
			}
			r, err := config.Rehearse(args[1], place, dateless)
			var unknown *yamldoc.Error
			if errors.As(err, &unknown) {
				return &failure{2, errors.New(unknown.Msg), unknown.Hint}
			}
			if err != nil {
				return err
			}
			log, err := p.open(args[0])
			if err != nil {
				return err
			}
			defer log.Close()
			return p.dryRun(r, log, at, place)
		},
	})
	c.Flags().BoolVar(&dateless, "journal", false, "lines carry no date, as HOST IDENT[PID]: MESSAGE")
	c.Flags().StringVar(&now, "now", "", "take `EPOCH` seconds as the time it is")
	c.Flags().StringVar(&zone, "tz", "", "`ZONE` of dates that name none, as Europe/Zurich (default: local)")
	return c
}

func (p *program) dryRun(r *jails.Rehearsal, log io.Reader, now time.Time, zone *time.Location) error {
	meter := &meter{from: log}
	bar := p.bar(log)
	tooLong := 0
	failed := eachLine(meter, func(n int, line []byte) error {
		bar.show(meter.bytes, n)
		if line == nil {
			tooLong++
			return nil
		}
		r.Read(line, now)
		return nil
	})
	bar.clear()
	result := dryRunOf(r, zone)
	if failed != nil && result.Lines == 0 {
		return failed
	}
	result.TooLong, result.end = tooLong, r.End(now)
	if err := p.show(result, result.print); err != nil {
		return err
	}
	return failed
}

// A dryRun is what a jail would have done, as --json tells it.
type dryRun struct {
	Jail      string   `json:"jail"`
	Lines     uint64   `json:"lines"`
	TooLong   int      `json:"too_long"`
	Matched   uint64   `json:"matched"`
	Ignored   uint64   `json:"ignored"`
	Allowed   uint64   `json:"allowed"`
	Untrusted uint64   `json:"untrusted"`
	Names     uint64   `json:"names"`
	Stale     uint64   `json:"stale"`
	Kept      int      `json:"kept_out"`  // lines about addresses that were out
	TimedOut  uint64   `json:"timed_out"` // lines on which a regex took too long
	Slow      []string `json:"slow"`      // the rules that did
	Bans      []dryBan `json:"bans"`

	end time.Time // of the log
}

// A dryBan is one ban that there would have been.
type dryBan struct {
	Prefix   string    `json:"prefix"`
	Since    time.Time `json:"since"`
	End      time.Time `json:"end"`
	Failures int       `json:"failures"`
	Rule     string    `json:"rule"`
	Trust    string    `json:"trust"`
	Kept     int       `json:"kept_out"`
}

func dryRunOf(r *jails.Rehearsal, zone *time.Location) dryRun {
	s := r.Status()
	d := dryRun{Jail: s.Name, Lines: s.Lines, Matched: s.Matched, Ignored: s.Ignored, Allowed: s.Allowed,
		Untrusted: s.Untrusted, Names: s.Names, Stale: s.Stale, TimedOut: s.TimedOut, Slow: r.Slow(), Bans: []dryBan{}}
	for _, b := range r.Bans() {
		d.Kept += b.Kept
		d.Bans = append(d.Bans, dryBan{short(b.Ban.Prefix), b.Ban.Since.In(zone), b.Ban.End.In(zone), b.Failures, b.Rule, b.Trust.String(), b.Kept})
	}
	return d
}

func (d dryRun) print(w io.Writer) {
	if len(d.Bans) > 0 {
		rows := [][]string{{"SINCE", "WHO", "FOR", "FAILURES", "LAST BY", "TRUST", "KEPT OUT"}}
		for _, b := range d.Bans {
			rows = append(rows, []string{b.Since.Format(time.DateTime), b.Prefix, d.length(b), number(b.Failures), safe(b.Rule), b.Trust, keptOut(b.Kept)})
		}
		printTable(w, rows)
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "%s, %s, %s matched by jail %s", counted(len(d.Bans), "ban"), counted(int(d.Lines)+d.TooLong, "line"), number(d.Matched), d.Jail)
	if d.Kept > 0 {
		fmt.Fprintf(w, "; %s more of addresses that were out", number(d.Kept))
	}
	fmt.Fprintln(w)
	d.printOthers(w)
}

// length is for how long b lasted or will last.
func (d dryRun) length(b dryBan) string {
	text := span(b.End.Sub(b.Since))
	if b.End.After(d.end) {
		text += ", still out"
	}
	return text
}

func keptOut(lines int) string {
	if lines == 0 {
		return ""
	}
	return counted(lines, "line")
}

// printOthers says what was matched and did not count.
func (d dryRun) printOthers(w io.Writer) {
	for _, other := range []struct {
		n    uint64
		what string
	}{
		{d.Ignored, "taken out by ignoreregex"},
		{d.Allowed, "not counted: in ignoreip"},
		{d.Untrusted, "not counted: untrusted, the attacker may have written the address"},
		{d.Names, "not counted: a name, no address"},
		{d.Stale, "not counted: older than findtime when it was read"},
		{uint64(d.TooLong), "not read: too long"},
	} {
		if other.n > 0 {
			fmt.Fprintf(w, "%s %s\n", number(other.n), other.what)
		}
	}
	if d.TimedOut > 0 {
		fmt.Fprintf(w, "%s undecided: whether %s matches nobody knows, it took too long\n", number(d.TimedOut), safe(strings.Join(d.Slow, " or ")))
	}
}
