package dfa_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"regexp"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xdpban/jails/filter/dfa"
)

// quiet and attack are lines of a bastion and a telephone exchange behind their dates.
var quiet = map[string][]string{
	"sshd": {
		" bastion CRON[%d]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)",
		" bastion sshd[%d]: Accepted publickey for deploy from 198.51.100.77 port 50212 ssh2: ED25519 SHA256:abcdefghijk",
		" bastion systemd-logind[%d]: New session 4711 of user deploy.",
		" bastion sshd[%d]: pam_unix(sshd:session): session closed for user deploy",
	},
	"asterisk": {
		"[] VERBOSE[%d][C-0000002a] app_dial.c: Called SIP/trunk/004930123456",
		"[] VERBOSE[%d] chan_sip.c: Registered SIP '204' at 198.51.100.77:5060",
		"[] NOTICE[%d] chan_sip.c: Peer '204' is now Reachable. (21ms / 2000ms)",
		"[] WARNING[%d][C-0000002b] channel.c: Unable to find a codec translation path: (ulaw) -> (g729)",
	},
}

var attack = map[string]string{
	"sshd":     " bastion sshd[%d]: Failed password for invalid user u%d from 203.0.113.%d port 41022 ssh2",
	"asterisk": "[] NOTICE[%d] chan_sip.c: Registration from '\"%d\" <sip:100@192.0.2.1>' failed for '203.0.113.%d:5060' - Wrong password",
}

// mixture is lines of which percent are attacks.
func mixture(name string, percent int) [][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	lines := make([][]byte, 4096)
	for i := range lines {
		if random.IntN(100) < percent {
			lines[i] = fmt.Appendf(nil, attack[name], random.IntN(30000), random.IntN(1000), random.IntN(256))
		} else {
			lines[i] = fmt.Appendf(nil, quiet[name][random.IntN(len(quiet[name]))], random.IntN(30000))
		}
	}
	return lines
}

// BenchmarkMatch looks at lines with all rules of a filter, in turns with package regexp,
// rule by rule, and with a search for one word, which is the floor; the fastest turn of each counts.
func BenchmarkMatch(b *testing.B) {
	for _, name := range []string{"sshd", "asterisk"} {
		for _, percent := range []int{0, 5, 50, 100} {
			b.Run(fmt.Sprintf("%s/%d%%", name, percent), func(b *testing.B) {
				benchmark(b, load(b, "../../../configs/filters/"+name+".yaml").exprs, mixture(name, percent))
			})
		}
	}
}

func benchmark(b *testing.B, exprs []string, lines [][]byte) {
	m := compile(b, exprs).NewMachine(dfa.Options{})
	var rules []*regexp.Regexp
	var hosts []int
	for _, expr := range exprs {
		re := regexp.MustCompile(expr)
		rules, hosts = append(rules, re), append(hosts, re.SubexpIndex("host"))
	}
	const rest = 64 // of lines, one in so many for package regexp
	ours, theirs, floor := time.Hour, time.Hour, time.Hour
	for b.Loop() {
		ours = min(ours, timed(func() {
			for _, line := range lines {
				if rule := m.Match(line); rule >= 0 {
					m.Group(line, hosts[rule])
				}
			}
		}))
		floor = min(floor, timed(func() {
			for _, line := range lines {
				bytes.Contains(line, []byte("no such word"))
			}
		}))
		theirs = min(theirs, rest*timed(func() {
			for _, line := range lines[:len(lines)/rest] {
				for _, re := range rules {
					if re.FindSubmatchIndex(line) != nil {
						break
					}
				}
			}
		}))
	}
	n := float64(len(lines))
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(n/ours.Seconds()/1e6, "Mlines/s")
	b.ReportMetric(ours.Seconds()*1e9/n, "ns/line")
	b.ReportMetric(ours.Seconds()/floor.Seconds(), "x-floor-time")
	b.ReportMetric(theirs.Seconds()/ours.Seconds(), "x-regexp-rate")
}

// timed is the CPU time of do, which other programs disturb less than the clock's.
func timed(do func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := cpu()
	do()
	return cpu() - before
}

func cpu() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}
