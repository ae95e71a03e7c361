package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"xdpban/jails/filter"
	"xdpban/jails/source"
)

const reportLog = `Nov  9 18:47:21 h app[1]: bad password of eve from 192.0.2.7
Nov  9 18:47:25 h app[1]: bad password of eve from 192.0.2.7
Nov  9 18:47:22 h app[1]: bad password of eve from 192.0.2.7
Nov  9 18:47:23 h app[1]: bad password of mallory from 192.0.2.123
Nov  9 18:47:23 h app[1]: bad password of mallory from localhost
2026-11-09T18:47:24Z h app[1]: no user trent at 2001:db8::7
h app[1]: no user trent at 2001:db8::7
Nov  9 18:47:24 h app[1]: bad password of probe from 192.0.2.9
Nov  9 18:47:24 h app[1]: goodbye ` + "\x1b" + `[2J
Nov  9 18:47:25 h app[1]: welcome
`

const report = `Failregex: 7 total
|- #) [hits] rule   trust      engine  alone
|  1) [5] password  verified   linear
|     ^<PREFIX>bad password of (?P<user>\S+) from <HOST>$
|      192.0.2.7    3 times  2026-11-09 18:47:21 to 2026-11-09 18:47:25
|      192.0.2.123  once     2026-11-09 18:47:23
|      localhost    once     2026-11-09 18:47:23                         a name: never banned
|  2) [2] user      untrusted  linear
|     ^<PREFIX>no user .* at <HOST>$
|     bans only where the jail says trust: accept
|      2001:db8::7  2 times  2026-11-09 18:47:24 to 2026-11-09 18:48:00
|  3) [0] never     verified   linear
|  4) [0] again     verified   linear
` + "`-" + `

Ignoreregex: 1 total

Date template hits:
|- [hits] date format
|  [8] MON Day [Year] Hour:Minute:Second[.Fraction]
|  [1] Year-Month-Day[T ]Hour:Minute:Second[.Fraction][Zone]
|  [1] matched without a date: counted as of now
` + "`-" + `

Injection: can text that an attacker writes move the address?
|- no: 3 rules
|- it is the attacker's already (untrusted): user
` + "`-" + `

Missed lines:
|  Nov  9 18:47:24 h app[1]: goodbye \x1b[2J
|  Nov  9 18:47:25 h app[1]: welcome
` + "`-" + `

Lines: 10 lines, 1 ignored, 7 matched, 2 missed
`

// newTrial tries a filter of four rules; it is 2026-11-09 18:48:00 UTC.
func newTrial(t *testing.T) *trial {
	t.Helper()
	spec, err := filter.Parse("test.yaml", []byte(`
failregex:
  - { name: password, trust: verified, regex: '^<PREFIX>bad password of (?P<user>\S+) from <HOST>$' }
  - { name: user, trust: untrusted, regex: '^<PREFIX>no user .* at <HOST>$' }
  - { name: never, trust: verified, regex: '^<PREFIX>never <HOST>$' }
  - { name: again, trust: verified, regex: '^<PREFIX>again <HOST>$' }
ignoreregex: ['of probe from']
`))
	if err != nil {
		t.Fatal(err)
	}
	f, err := filter.New("test", spec, filter.Normal)
	if err != nil {
		t.Fatal(err)
	}
	return &trial{filter: f, zone: time.UTC, now: time.Date(2026, 11, 9, 18, 48, 0, 0, time.UTC)}
}

// run tries log and returns what is printed.
func run(t *testing.T, trial *trial, p program, log io.Reader) string {
	t.Helper()
	out := new(strings.Builder)
	p.stdout = out
	if err := p.try(trial, log); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

var (
	speed = regexp.MustCompile(`(?m)^\[\d.* in .*\]\n`)
	alone = regexp.MustCompile(`(?m)  \d[\d.]* (?:ns|us|ms) a line, [\d.]+ \w+/s$`)
)

func TestReportOfATrial(t *testing.T) {
	got := run(t, newTrial(t), program{}, strings.NewReader(reportLog))
	if !speed.MatchString(got) {
		t.Errorf("the report does not say how fast it was:\n%s", got)
	}
	if n := len(alone.FindAllString(got, -1)); n < 2 {
		t.Errorf("the speed of %d rules is said, want 2, or more where time was left", n)
	}
	if got = alone.ReplaceAllString(speed.ReplaceAllString(got, ""), ""); got != report {
		t.Errorf("got\n%s\nwant\n%s", got, report)
	}
}

func TestManyMissedLinesAreNotShownUnasked(t *testing.T) {
	log := strings.Repeat("hello\n", missedKept+1) + strings.Repeat("x", source.MaxLine+1) + "\n"
	got := run(t, newTrial(t), program{}, strings.NewReader(log))
	for _, want := range []string{
		"Missed lines: 21 are too many to show here; --print-missed prints them\n\n",
		"\nLines: 22 lines, 0 ignored, 0 matched, 21 missed, 1 too long\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	asked := newTrial(t)
	asked.printMissed = true
	if got := run(t, asked, program{}, strings.NewReader(log)); strings.Count(got, ": hello\n") != missedKept+1 {
		t.Errorf("not all missed lines are shown:\n%s", got)
	}
}

// Of many missed lines those are shown that came closest, one a rule and place.
func TestClosestOfManyMissedLines(t *testing.T) {
	var log strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&log, "Nov  9 18:47:21 h app[1]: welcome %d\n", i)
		if i%2 == 0 {
			fmt.Fprintf(&log, "Nov  9 18:47:21 h app[1]: bad password of eve%d form 192.0.2.7\n", i)
		}
	}
	got := run(t, newTrial(t), program{}, strings.NewReader(log.String()))
	want := regexp.MustCompile(`\nMissed lines: 7,500 are too many to show here; --print-missed prints them\. Of \d{3} among them, closest came
\|  Nov  9 18:47:21 h app\[1\]: bad password of eve\d+ form 192\.0\.2\.7
\|   +\^ password wants " from " here
` + "`-\n")
	if !want.MatchString(got) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestSpeedIsToldWhereItMeansSomething(t *testing.T) {
	for took, want := range map[time.Duration]string{
		1500 * time.Microsecond: "[2.0 kB in 1.5 ms: too little to tell how fast]\n",
		2 * time.Second:         "[2.0 kB in 2.00 s: 50 lines/s, 1.0 kB/s]\n",
	} {
		out := new(strings.Builder)
		(&trial{lines: 100, bytes: 2000, took: took}).reportLines(out)
		if _, got, _ := strings.Cut(out.String(), "\n"); got != want {
			t.Errorf("%v: got %q, want %q", took, got, want)
		}
	}
}

func TestManySourcesAreCountedNotListed(t *testing.T) {
	const extra = 7
	log := new(strings.Builder)
	for i := range sourcesKept + extra {
		fmt.Fprintf(log, "bad password of eve from 2001:db8::%x\n", i+1)
	}
	got := run(t, newTrial(t), program{}, strings.NewReader(log.String()))
	want := fmt.Sprintf("|      and %s more\n|      and %d hits of sources beyond the first %s\n",
		number(sourcesKept-sourcesShown), extra, number(sourcesKept))
	if !strings.Contains(got, want) {
		t.Errorf("%q is not in\n%s", want, got)
	}
}

func TestLongNamesAreKeptInPart(t *testing.T) {
	trial := newTrial(t)
	name := strings.Repeat("x", 60_000)
	run(t, trial, program{}, strings.NewReader("bad password of eve from "+name+"\n"))
	want := name[:textKept] + "... (60.0 kB)"
	if got := trial.rules[0].whom.most(2); len(got) != 1 || got[0].id() != want || got[0].hits != 1 {
		t.Errorf("kept %.400v, want %q once", got, want)
	}
}

// attack writes lines of all kinds, size bytes of them and a little more.
func attack(to io.Writer, size int) error {
	long := strings.Repeat("from 192.0.2.1 ", 10_000) + "\n"
	miss := strings.Repeat("Nov  9 18:47:21 h sshd[1]: Connection closed by 192.0.2.1 port 4242 [preauth]\n", 900)
	for i := 0; size > 0; i++ {
		block := long + miss
		for j := range 30 {
			n := 30*i + j
			block += fmt.Sprintf("Nov  9 18:47:21 h sshd[1]: Failed password for root from 10.%d.%d.%d port 1 ssh2\n", n>>16&0xff, n>>8&0xff, n&0xff)
		}
		block += "\x00\xff\x1b" + strings.Repeat("y", 3000) + "\n"
		if _, err := io.WriteString(to, block); err != nil {
			return err
		}
		size -= len(block)
	}
	return nil
}

// peak is the most memory that a process has had, in bytes: VmHWM of proc_pid_status(5).
func peak(pid int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("no VmHWM in %q", status)
}

func TestMemoryDoesNotGrowWithTheLog(t *testing.T) {
	const bytes, bound = 100 << 20, 80 << 20 // under the race detector; a fifth of it without
	cmd := exec.Command("xdpban", "regex", "-", "sshd")
	out := new(strings.Builder)
	cmd.Stdout, cmd.Stderr = out, out
	log, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := attack(log, bytes); err != nil {
		t.Error(err)
	}
	most, err := peak(cmd.Process.Pid)
	if err != nil {
		t.Error(err)
	}
	log.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(out.String(), "too long\n") || !strings.Contains(out.String(), "failed-password") {
		t.Errorf("not all kinds of lines are in the report:\n%s", out)
	}
	if most > bound {
		t.Errorf("%s of log took %s of memory, want at most %s", size(bytes), size(uint64(most)), size(bound))
	}
	t.Logf("%s of memory for %s of log", size(uint64(most)), size(bytes))
}
