package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // --tz works on hosts without it

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"xdpban/internal/yamldoc"
	"xdpban/jails"
	"xdpban/jails/filter"
)

func regexVerb(p *program) *cobra.Command {
	var t trial
	var now, zone string
	var more own
	c := p.looks(&cobra.Command{
		Use:   "regex LOG FILTER [IGNOREREGEX]",
		Short: "try a filter on a log: what it finds, when, and what it misses",
		Long: "LOG is a file, - for standard input, or a line as it is. FILTER is the name of a filter, name[mode=x],\n" +
			"a filter file, ours or fail2ban's, or a regex, in which <PREFIX>, <HOST>, <ADDR>, <IP4>, <IP6>, <SUBNET>, <CIDR> and\n" +
			"<F-USER>...</F-USER> stand for what they stand for in filter files. Where --config is a directory of fail2ban's,\n" +
			"its filters are used as they are, and a regex is Python's, with fail2ban's tags and %(__prefix_line)s.\n" +
			"Lines that match IGNOREREGEX, a regex, do not count.\n" +
			"With --json every line that matches gives one JSON object.\n\n" +
			"The report says too whether text that an attacker writes can move the address, and shows a line that does.",
		Example: "  xdpban regex /var/log/auth.log sshd\n" +
			"  xdpban regex --print-missed /var/log/asterisk/messages asterisk\n" +
			"  xdpban regex 'Nov  9 18:47:21 h app[1]: bad password from 192.0.2.7' '^<PREFIX>bad password from <HOST>$'\n" +
			"  xdpban regex -c /etc/fail2ban /var/log/auth.log 'sshd[mode=aggressive]'\n" +
			"  journalctl -u ssh -o short --no-pager | xdpban regex - sshd",
		Args: arguments(2, 3, "LOG and FILTER"),
		RunE: func(c *cobra.Command, args []string) (err error) {
			if t.now, t.zone, err = when(c, now, zone); err != nil {
				return err
			}
			if swapped(args[0], args[1]) {
				return usage(c, fmt.Errorf("there is no log %q: LOG comes first, then FILTER", args[0]))
			}
			if t.filter, err = p.filter(c, args[1], t.dateless); err != nil {
				return err
			}
			more.ignoreregex = args[2:]
			if t.filter, err = more.over(c, t.filter); err != nil {
				return err
			}
			log, err := p.open(args[0])
			if err != nil {
				return err
			}
			defer log.Close()
			return p.try(&t, log)
		},
	})
	c.Flags().BoolVar(&t.expand, "expand", false, "print the regexes with all tags replaced too")
	c.Flags().BoolVar(&t.printMissed, "print-missed", false, "print every line that no rule matches, and where the rule that came furthest stopped")
	c.Flags().BoolVar(&t.printMatched, "print-matched", false, "print every line that matches, with what comes out of it")
	c.Flags().BoolVar(&t.printIgnored, "print-ignored", false, "print every line that matches and that an ignoreregex takes out")
	c.Flags().BoolVar(&t.dateless, "journal", false, "lines carry no date, as HOST IDENT[PID]: MESSAGE")
	c.Flags().StringArrayVar(&more.datepattern, "datepattern", nil, "find dates by `PATTERN`, and not as FILTER says; may be given again")
	c.Flags().IntVar(&more.maxlines, "maxlines", 0, "show each rule `N` lines, and not as many as FILTER says; for fail2ban's regexes")
	c.Flags().StringVar(&now, "now", "", "take `EPOCH` seconds as the time it is")
	c.Flags().StringVar(&zone, "tz", "", "`ZONE` of dates that name none, as Europe/Zurich (default: local)")
	return c
}

// swapped reports whether a log stands where FILTER should, and behind something that is none.
func swapped(log, filter string) bool {
	if log == "-" || strings.Contains(log, " ") {
		return false
	}
	_, err := os.Stat(log)
	return err != nil && isRegular(filter) && !slices.Contains([]string{".yaml", ".yml", ".conf", ".local"}, filepath.Ext(filter))
}

func isRegular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// when reads --now and --tz.
func when(c *cobra.Command, now, zone string) (time.Time, *time.Location, error) {
	at, place := time.Now(), time.Local
	if zone != "" {
		var err error
		if place, err = time.LoadLocation(zone); err != nil {
			return at, nil, usage(c, fmt.Errorf("--tz: there is no zone %q", zone))
		}
	}
	if now != "" {
		epoch, err := strconv.ParseFloat(now, 64)
		if err != nil || !(epoch >= 0 && epoch <= 1e11) {
			return at, nil, usage(c, fmt.Errorf("--now: want seconds since 1970, got %q", now))
		}
		at = time.UnixMicro(int64(epoch * 1e6))
	}
	return at, place, nil
}

// filter is what FILTER means; journal says that the lines are from there. An error that
// stands in no file is one of the command line.
func (p *program) filter(c *cobra.Command, text string, journal bool) (*filter.Filter, error) {
	f, err := p.findFilter(text, journal)
	var bad yamldoc.Errors
	if !errors.As(err, &bad) || len(bad) != 1 || bad[0].File != "" {
		return f, err
	}
	if bad[0].Key != "" { // of the regex that FILTER is
		return nil, usage(c, fmt.Errorf("FILTER, a regex: %s", bad[0].Msg))
	}
	return nil, &failure{2, errors.New(bad[0].Msg), bad[0].Hint}
}

func (p *program) findFilter(text string, journal bool) (*filter.Filter, error) {
	if f, err := p.fail2banFilter(text, journal); f != nil || err != nil {
		return f, err
	}
	if isRegex(text) {
		return filter.Inline("regex", []string{text})
	}
	f, _, err := jails.FindFilter(p.configPath(), text)
	return f, err
}

// isRegex tells a regex from a name or a path by what these hardly have in them.
func isRegex(text string) bool {
	if !strings.ContainsAny(text, `^<$*\( `) {
		return false
	}
	_, err := os.Stat(text)
	return err != nil
}

// open is what LOG means: a line has spaces in it, and there is no such file.
func (p *program) open(log string) (io.ReadCloser, error) {
	if log == "-" {
		return unpacked(io.NopCloser(p.stdin))
	}
	file, err := os.Open(log)
	if err == nil {
		return unpacked(file)
	}
	absent := errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENAMETOOLONG) || errors.Is(err, unix.ENOTDIR)
	if absent && strings.Contains(log, " ") && !strings.HasPrefix(log, "/") {
		return io.NopCloser(strings.NewReader(log)), nil
	}
	err = fmt.Errorf("open the log %q: %w", log, reason(err))
	if absent && strings.HasPrefix(log, "systemd-journal") {
		return nil, &failure{1, err, "to read the journal: journalctl -o short --no-pager | xdpban regex - FILTER"}
	}
	if absent {
		return nil, &failure{1, err, "LOG is a file, - for standard input, or a whole line of log in quotes"}
	}
	return nil, err
}

// reason is err without the path and what was done to it.
func reason(err error) error {
	var with *fs.PathError
	if errors.As(err, &with) {
		return with.Err
	}
	return err
}

// try reads log to its end, or as far as it can be read, and reports.
func (p *program) try(t *trial, log io.Reader) error {
	out := bufio.NewWriter(p.stdout)
	tell := t.tell(out)
	if p.json {
		tell = t.tellJSON(out)
	}
	p.printing = p.json || t.printMissed || t.printMatched || t.printIgnored
	failed := t.read(log, tell, p.bar(log))
	if failed != nil && t.lines == 0 {
		return failed
	}
	if !p.json {
		t.measure()
		t.report(out)
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return failed
}
