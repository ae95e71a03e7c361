package main

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"xdpban/internal/lab"
	"xdpban/jails"
	"xdpban/jails/filter"
)

// A service is what writes a log: attacks are those samples of its filter that hold one of these
// texts, which fail2ban's filter of that name takes for failures too; its lines begin with
// lead, of which begin says how it is written at another time, by another process.
type service struct {
	filter  string
	lead    *regexp.Regexp
	begin   func(at time.Time) string
	attacks []string
	quiet   []string // what else it writes, behind lead
}

var services = []service{
	{
		filter: "sshd",
		lead:   regexp.MustCompile(`^Nov  9 18:47:21 h sshd`),
		begin:  func(at time.Time) string { return at.Format(time.Stamp) + " bastion sshd" },
		attacks: []string{
			"]: Failed password for root from", "]: [ID 800047 auth.info] Failed password for invalid user bob from", "PAM: Authentication failure for root",
			"Invalid user bob from", "User bob from", "ROOT LOGIN REFUSED FROM 192",
		},
		quiet: []string{
			"[%d]: Accepted publickey for deploy from 198.51.100.77 port 50212 ssh2: ED25519 SHA256:dGhpcyBpcyBhIHNhbXBsZSBmaW5nZXJwcmludCBvbmx5",
			"[%d]: pam_unix(sshd:session): session opened for user deploy(uid=1000) by (uid=0)",
			"[%d]: Received disconnect from 198.51.100.77 port 50212:11: disconnected by user",
			"[%d]: pam_unix(sshd:session): session closed for user deploy",
			"[%d]: Server listening on 0.0.0.0 port 22.",
		},
	},
	{
		filter:  "asterisk",
		lead:    regexp.MustCompile(`^\[2026-11-09 18:47:21\] NOTICE`),
		begin:   func(at time.Time) string { return at.Format("[2006-01-02 15:04:05] NOTICE") },
		attacks: []string{"No matching peer found", "Wrong password", "failed to authenticate as 'admin'", "failed MD5 authentication", "No registration for peer"},
		quiet: []string{
			"[%d][C-0000002a] app_dial.c: Called SIP/trunk/004930123456",
			"[%d] chan_sip.c: Registered SIP '204' at 198.51.100.77:5060",
			"[%d] chan_sip.c: Peer '204' is now Reachable. (21ms / 2000ms)",
			"[%d][C-0000002b] channel.c: Unable to find a codec translation path: (ulaw) -> (g729)",
			"[%d] cdr.c: CDR simple logging enabled.",
		},
	},
}

// samples are the messages of s's attacks, from its lead on.
func (s *service) samples(tb testing.TB) []string {
	tb.Helper()
	f, _, err := jails.FindFilter("", s.filter)
	if err != nil {
		tb.Fatal(err)
	}
	var messages []string
	for _, text := range s.attacks {
		found := false
		for _, sample := range f.Spec().AllSamples() {
			if s.takes(&sample.V, text) {
				messages, found = append(messages, s.lead.ReplaceAllString(sample.V.Line, "")), true
			}
		}
		if !found {
			tb.Fatalf("no sample of %s holds %q", s.filter, text)
		}
	}
	return messages
}

func (s *service) takes(sample *filter.Sample, text string) bool {
	return sample.Mode == "" && sample.Rule != "" && sample.Host == sampleHost &&
		strings.Count(sample.Line, sampleHost) == 1 && strings.Contains(sample.Line, text) && s.lead.MatchString(sample.Line)
}

const sampleHost = "192.0.2.7"

var identity = regexp.MustCompile(`^\[\d+\]`)

// write writes a log of lines, percent of them attacks from random addresses of 10.0.0.0/8,
// and says how many attacks there are. Ten lines have the same second; each is of a process of its
// own, so that no filter joins it to another.
func (s *service) write(tb testing.TB, path string, lines, percent int) (attacks int) {
	tb.Helper()
	file, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	out, random, samples := bufio.NewWriterSize(file, 1<<20), rand.New(rand.NewPCG(1, 2)), s.samples(tb)
	at := time.Now().Add(-time.Duration(lines) * time.Second / 10)
	for i := range lines {
		out.WriteString(s.begin(at.Add(time.Duration(i) * time.Second / 10)))
		if random.IntN(100) >= percent {
			fmt.Fprintf(out, s.quiet[random.IntN(len(s.quiet))], 1000+i)
		} else {
			attacks++
			source := fmt.Sprintf("10.%d.%d.%d", random.IntN(256), random.IntN(256), random.IntN(256))
			message := strings.Replace(samples[random.IntN(len(samples))], sampleHost, source, 1)
			out.WriteString(identity.ReplaceAllString(message, fmt.Sprintf("[%d]", 1000+i)))
		}
		out.WriteByte('\n')
	}
	if err := out.Flush(); err != nil {
		tb.Fatal(err)
	}
	return attacks
}

func TestWrittenLogsHoldWhatTheySay(t *testing.T) {
	for _, s := range services {
		path := filepath.Join(t.TempDir(), "log")
		attacks := s.write(t, path, 1000, 50)
		f, _, err := jails.FindFilter("", s.filter)
		if err != nil {
			t.Fatal(err)
		}
		log, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		lines, matched, reader := 0, 0, f.NewReader(time.Local)
		err = eachLine(log, func(_ int, line []byte) error {
			lines++
			if reader.Read(line, time.Now()).Outcome == filter.Matched {
				matched++
			}
			return nil
		})
		if err != nil || lines != 1000 || matched != attacks || attacks < 400 {
			t.Errorf("%s: %d lines, %d match of %d attacks, %v", s.filter, lines, matched, attacks, err)
		}
	}
}

// real is the path of the real xdpban: the test binary starts slower. It goes with the lab.
var real = sync.OnceValues(func() (string, error) {
	const path = "/run/builds/xdpban"
	out, err := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "xdpban/cmd/xdpban").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build xdpban: %w: %s", err, out)
	}
	return path, nil
})

// A written log, and how many of its lines are attacks.
type writtenLog struct {
	*service
	path           string
	lines, attacks int
}

// eachLog calls bench with logs of both services in which 5 % and 50 % of the lines are attacks.
func eachLog(b *testing.B, lines int, bench func(b *testing.B, l *writtenLog)) {
	eachShare(b, func(b *testing.B, s *service, percent int) { bench(b, s.log(b, lines, percent)) })
}

func eachShare(b *testing.B, bench func(b *testing.B, s *service, percent int)) {
	lab.Require(b)
	for _, s := range services {
		for _, percent := range []int{5, 50} {
			b.Run(fmt.Sprintf("log=%s/attacks=%d%%", s.filter, percent), func(b *testing.B) { bench(b, &s, percent) })
		}
	}
}

// log writes a log that goes with b.
func (s *service) log(b *testing.B, lines, percent int) *writtenLog {
	b.Helper()
	if testing.Short() {
		lines = min(lines, 100_000)
	}
	l := &writtenLog{service: s, path: filepath.Join(b.TempDir(), "log"), lines: lines}
	l.attacks = s.write(b, l.path, lines, percent)
	return l
}

// A logReader is a program that reads a whole log: the arguments, of which LOG and FILTER
// stand for those, or the log comes by standard input; and what says how many lines match.
type logReader struct {
	pkg   string // of Debian, that holds it
	args  []string
	stdin bool
	hits  *regexp.Regexp
}

// logReaders are ours, with the rules that we bring along and with fail2ban's, and its peers.
var logReaders = map[string]logReader{
	"xdpban":     {args: []string{"xdpban", "regex", "LOG", "FILTER"}, hits: hits},
	"same-rules": {args: []string{"xdpban", "regex", "-c", "/etc/fail2ban", "LOG", "FILTER"}, hits: hits},
	"fail2ban":   {pkg: "fail2ban", args: []string{"fail2ban-regex", "LOG", "FILTER"}, hits: hits},
	"sshguard":   {pkg: "sshguard", args: []string{"/usr/libexec/sshguard/sshg-parser"}, stdin: true},
	"grep":       {pkg: "grep", args: []string{"grep", "-cF", "password", "LOG"}},
}

var hits = regexp.MustCompile(`(?m)^Lines: .*?([\d,]+) matched`)

// cpu is the CPU time that r takes for l, start and end included. All attacks must match,
// and nothing else.
func (r logReader) cpu(b *testing.B, l *writtenLog) time.Duration {
	b.Helper()
	cmd, out := r.command(b, l), new(bytes.Buffer)
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v: %v", cmd, err)
	}
	if r.hits != nil {
		match := r.hits.FindSubmatch(out.Bytes())
		if match == nil {
			b.Fatalf("%v does not say how many lines match", cmd)
		}
		if got, _ := strconv.Atoi(strings.ReplaceAll(string(match[1]), ",", "")); got != l.attacks {
			b.Fatalf("%v: %d lines match of %d attacks", cmd, got, l.attacks)
		}
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}

func (r logReader) command(b *testing.B, l *writtenLog) *exec.Cmd {
	b.Helper()
	name := r.args[0]
	if name == "xdpban" {
		path, err := real()
		if err != nil {
			b.Fatal(err)
		}
		name = path
	} else if _, err := exec.LookPath(name); err != nil {
		b.Skipf("%v: apt-get install %s", err, r.pkg)
	}
	cmd := exec.Command(name)
	for _, arg := range r.args[1:] {
		cmd.Args = append(cmd.Args, strings.NewReplacer("LOG", l.path, "FILTER", l.filter).Replace(arg))
	}
	if r.stdin {
		log, err := os.Open(l.path)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { log.Close() })
		cmd.Stdin = log
	}
	return cmd
}

// race has ours read l in turns with peer, and reports CPU time a line and the ratios of
// the turn in the middle.
func (l *writtenLog) race(b *testing.B, turns int, peer string, ours ...string) {
	for b.Loop() {
		times := make(map[string][]float64)
		for range turns {
			for _, name := range append([]string{peer}, ours...) {
				times[name] = append(times[name], float64(logReaders[name].cpu(b, l).Nanoseconds()))
			}
		}
		floor := median(times[peer])
		b.ReportMetric(floor/float64(l.lines), peer+"-ns/line")
		for _, name := range ours {
			took := median(times[name])
			b.ReportMetric(took/float64(l.lines), name+"-ns/line")
			b.ReportMetric(took/floor, name+"-x-cpu")
			b.ReportMetric(floor/took, name+"-x-rate")
		}
	}
	b.ReportMetric(0, "ns/op")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// BenchmarkLog has whole programs read logs of 100,000 lines, with the rules that each brings
// along; ours besides with fail2ban's.
func BenchmarkLog(b *testing.B) {
	eachLog(b, 100_000, func(b *testing.B, l *writtenLog) {
		b.Run("peer=fail2ban", func(b *testing.B) { l.race(b, 1, "fail2ban", "xdpban", "same-rules") })
		b.Run("peer=sshguard", func(b *testing.B) { l.race(b, 3, "sshguard", "xdpban") })
		b.Run("peer=grep", func(b *testing.B) { l.race(b, 5, "grep", "xdpban") })
	})
}

// BenchmarkLongLog is the same with a million lines, where the start counts for little.
func BenchmarkLongLog(b *testing.B) {
	eachLog(b, 1_000_000, func(b *testing.B, l *writtenLog) {
		b.Run("peer=sshguard", func(b *testing.B) { l.race(b, 1, "sshguard", "xdpban") })
		b.Run("peer=grep", func(b *testing.B) { l.race(b, 3, "grep", "xdpban") })
	})
}

// BenchmarkLine is what a line more costs, as a daemon has it that started long ago: the CPU time of a long log less that
// of one a tenth as long. Ours are ten times as long as fail2ban's, which takes half a minute for a million lines.
func BenchmarkLine(b *testing.B) {
	eachShare(b, func(b *testing.B, s *service, percent int) {
		long, logs := 1_000_000, make(map[int]*writtenLog)
		if testing.Short() {
			long /= 10
		}
		for _, lines := range []int{10_000, 100_000, long} {
			logs[lines] = s.log(b, lines, percent)
		}
		line := func(reader string, long int) float64 {
			var times []float64
			for range 3 {
				took := logReaders[reader].cpu(b, logs[long]) - logReaders[reader].cpu(b, logs[long/10])
				times = append(times, float64(took.Nanoseconds())/float64(long-long/10))
			}
			return median(times)
		}
		b.Run("peer=fail2ban", func(b *testing.B) {
			for b.Loop() {
				theirs := line("fail2ban", 100_000)
				b.ReportMetric(theirs, "fail2ban-ns/line")
				for _, name := range []string{"xdpban", "same-rules"} {
					ours := line(name, long)
					b.ReportMetric(ours, name+"-ns/line")
					b.ReportMetric(theirs/ours, name+"-x-rate")
				}
			}
			b.ReportMetric(0, "ns/op")
		})
	})
}

// BenchmarkMemory reports how much memory reading a log takes at most. GNU time asks the
// kernel: what this process would be told is at least its own size, before exec(2).
func BenchmarkMemory(b *testing.B) {
	for _, lines := range []int{100_000, 1_000_000, 5_000_000} {
		b.Run(fmt.Sprintf("lines=%dk", lines/1000), func(b *testing.B) {
			eachLog(b, lines, func(b *testing.B, l *writtenLog) {
				for b.Loop() {
					b.ReportMetric(l.peak(b), "MiB")
				}
				b.ReportMetric(0, "ns/op")
			})
		})
	}
}

// peak is how much memory our reading of l takes at most, in MiB.
func (l *writtenLog) peak(b *testing.B) float64 {
	b.Helper()
	path, err := exec.LookPath("time")
	if err != nil {
		b.Skipf("%v: apt-get install time", err)
	}
	cmd := logReaders["xdpban"].command(b, l)
	cmd.Path, cmd.Args = path, append([]string{"time", "-f", "%M", cmd.Path}, cmd.Args[1:]...)
	kib := new(bytes.Buffer)
	cmd.Stderr = kib
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v: %v: %s", cmd, err, kib)
	}
	peak, err := strconv.Atoi(strings.TrimSpace(kib.String()))
	if err != nil {
		b.Fatal(err)
	}
	return float64(peak) / 1024
}
