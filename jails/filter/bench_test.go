package filter

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

// quietLines and attackLines are of a bastion and a telephone exchange.
var quietLines = map[string][]string{
	"sshd": {
		"Nov  9 18:%02d:%02d bastion CRON[%d]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)",
		"Nov  9 18:%02d:%02d bastion sshd[%d]: Accepted publickey for deploy from 198.51.100.77 port 50212 ssh2: ED25519 SHA256:abcdefghijk",
		"Nov  9 18:%02d:%02d bastion systemd-logind[%d]: New session 4711 of user deploy.",
		"Nov  9 18:%02d:%02d bastion sshd[%d]: pam_unix(sshd:session): session closed for user deploy",
	},
	"asterisk": {
		"[2026-11-09 18:%02d:%02d] VERBOSE[%d][C-0000002a] app_dial.c: Called SIP/trunk/004930123456",
		"[2026-11-09 18:%02d:%02d] VERBOSE[%d] chan_sip.c: Registered SIP '204' at 198.51.100.77:5060",
		"[2026-11-09 18:%02d:%02d] NOTICE[%d] chan_sip.c: Peer '204' is now Reachable. (21ms / 2000ms)",
		"[2026-11-09 18:%02d:%02d] WARNING[%d][C-0000002b] channel.c: Unable to find a codec translation path: (ulaw) -> (g729)",
	},
}

var attackLines = map[string]string{
	"sshd":     "Nov  9 18:%02d:%02d bastion sshd[%d]: Failed password for invalid user u%d from 203.0.113.%d port 41022 ssh2",
	"asterisk": "[2026-11-09 18:%02d:%02d] NOTICE[%d] chan_sip.c: Registration from '\"%d\" <sip:100@192.0.2.1>' failed for '203.0.113.%d:5060' - Wrong password",
}

// mixture is lines of which percent are attacks.
func mixture(name string, percent int) [][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	lines := make([][]byte, 4096)
	for i := range lines {
		minute, second, id := i/600, i/10%60, random.IntN(30000)
		if random.IntN(100) < percent {
			lines[i] = fmt.Appendf(nil, attackLines[name], minute, second, id, random.IntN(1000), random.IntN(256))
		} else {
			lines[i] = fmt.Appendf(nil, quietLines[name][random.IntN(4)], minute, second, id)
		}
	}
	return lines
}

// BenchmarkLines reads lines with a whole filter, in turns with a search for one word, which is
// the floor. The fastest turn of each counts.
func BenchmarkLines(b *testing.B) {
	for _, name := range []string{"sshd", "asterisk"} {
		f := load(b, "../../configs/filters/"+name+".yaml", Normal)
		for _, percent := range []int{0, 5, 50, 100} {
			b.Run(fmt.Sprintf("%s/%d%%", name, percent), func(b *testing.B) { f.benchmark(b, mixture(name, percent)) })
		}
	}
}

func (f *Filter) benchmark(b *testing.B, lines [][]byte) {
	r := f.NewReader(time.UTC)
	ours, floor := time.Hour, time.Hour
	for b.Loop() {
		ours = min(ours, cpuTime(func() {
			for _, line := range lines {
				r.Read(line, noon)
			}
		}))
		floor = min(floor, cpuTime(func() {
			for _, line := range lines {
				bytes.Contains(line, []byte("no such word"))
			}
		}))
	}
	n := float64(len(lines))
	allocs := testing.AllocsPerRun(1, func() {
		for _, line := range lines {
			r.Read(line, noon)
		}
	})
	b.ReportMetric(allocs/n, "allocs/line")
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(n/ours.Seconds()/1e6, "Mlines/s")
	b.ReportMetric(ours.Seconds()*1e9/n, "ns/line")
	b.ReportMetric(ours.Seconds()/floor.Seconds(), "x-floor-time")
}

// cpuTime is the CPU time of do, which other programs disturb less than the clock's.
func cpuTime(do func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadTime()
	do()
	return threadTime() - before
}
