package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// failure is a line that decides: sshd says that source failed.
func failure(source netip.Addr) []byte {
	return fmt.Appendf(nil, "%s server sshd[4711]: Failed password for root from %s port 4242 ssh2\n", time.Now().Format(time.Stamp), source)
}

// A race is for the time from before the write(2) of a line that decides to what comes of it,
// for one new source after the other.
type race struct {
	*site
	log    *busyLog
	bans   *ebpf.Map
	value  []byte
	probe  *probe
	source netip.Addr
}

func newRace(b *testing.B, maxbans int) *race {
	s := newSite(b, nativeMTU)
	s.configure(keys{"defaults": "{maxretry: 1}", "maxbans": strconv.Itoa(maxbans)})
	must(b, s.server.Address("eth0", "10.255.255.254/8")) // the way back to the sources
	s.start()
	r := &race{site: s, log: &busyLog{path: s.path("auth.log"), file: s.authLog}, bans: s.kernelBans(), probe: newProbe(s)}
	r.value, r.source = make([]byte, r.bans.ValueSize()), netip.MustParseAddr("10.0.0.0")
	return r
}

// attempt writes a line of the next source and asks until it is done.
func (r *race) attempt(done func() bool) time.Duration {
	r.Helper()
	r.source = r.source.Next()
	began, err := r.log.write(failure(r.source))
	must(r, err)
	for !done() {
		if time.Since(began) > time.Minute {
			r.Fatalf("waited a minute for %s", r.source)
		}
	}
	return time.Since(began)
}

// inMap reports whether the source is in the kernel's map.
func (r *race) inMap() bool {
	key := r.source.As16()
	return r.bans.Lookup(key, r.value) == nil
}

// dropped sends a packet of the source and reports whether it is dropped.
func (r *race) dropped() bool { return !r.probe.passes(r.source) }

// percentiles reports of times the middle, what one in a hundred exceeds, and the longest.
func percentiles(b *testing.B, name string, times []time.Duration) {
	slices.Sort(times)
	for _, q := range []int{50, 99, 100} {
		b.ReportMetric(float64(times[min(len(times)*q/100, len(times)-1)].Nanoseconds())/1e6, fmt.Sprintf("%s-p%d-ms", name, q))
	}
}

// BenchmarkLatency makes thousands of attempts on an idle log.
func BenchmarkLatency(b *testing.B) {
	r := newRace(b, 1<<17)
	for b.Loop() {
		var inMap, dropped []time.Duration
		for range 2000 {
			inMap = append(inMap, r.attempt(r.inMap))
			dropped = append(dropped, r.attempt(r.dropped))
		}
		percentiles(b, "map", inMap)
		percentiles(b, "drop", dropped)
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkFlood makes attempts for a minute while 50 MB of lines a second are written to
// the same log, and looks at the daemon each second.
func BenchmarkFlood(b *testing.B) {
	span := time.Minute
	if testing.Short() {
		span = 5 * time.Second
	}
	r := newRace(b, 1<<17)
	for b.Loop() {
		var inMap, dropped []time.Duration
		lag, resident := int64(0), 0.0
		stop := r.log.flood(b, 50e6)
		began := time.Now()
		pace, look := time.NewTicker(5*time.Millisecond), time.NewTicker(time.Second)
		for time.Since(began) < span {
			<-pace.C
			inMap = append(inMap, r.attempt(r.inMap))
			dropped = append(dropped, r.attempt(r.dropped))
			select {
			case <-look.C:
				lag = max(lag, r.sshd().Logs[0].Lag)
				resident = max(resident, r.resident())
			default:
			}
		}
		pace.Stop()
		look.Stop()
		written := stop()
		percentiles(b, "map", inMap)
		percentiles(b, "drop", dropped)
		b.ReportMetric(float64(written)/1e6/time.Since(began).Seconds(), "MB/s")
		b.ReportMetric(float64(lag)/(1<<20), "lag-MiB")
		b.ReportMetric(resident, "resident-MiB")
	}
	b.ReportMetric(0, "ns/op")
}

// resident is how much memory the daemon has, in MiB.
func (s *site) resident() float64 {
	s.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.running.Process.Pid))
	must(s, err)
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	must(s, err)
	return float64(pages) * float64(os.Getpagesize()) / (1 << 20)
}

// cpu is the CPU time that the daemon has taken.
func (s *site) cpu() time.Duration {
	s.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.running.Process.Pid))
	must(s, err)
	_, fields, _ := strings.Cut(string(text), ") ") // behind the name, which may hold anything
	const user, system, hertz = 11, 12, 100
	ticks := 0
	for _, i := range []int{user, system} {
		n, err := strconv.Atoi(strings.Fields(fields)[i])
		must(s, err)
		ticks += n
	}
	return time.Duration(ticks) * time.Second / hertz
}

// A busyLog is a log that several write to, and that is renamed before it fills the disk.
type busyLog struct {
	path string
	mu   sync.Mutex
	file *os.File
	size int
}

const rotated = 256 << 20

// write writes lines by one write(2), before which it says what time it is.
func (l *busyLog) write(lines []byte) (before time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size += len(lines); l.size > rotated {
		l.size = 0
		if err := os.Rename(l.path, l.path+".1"); err != nil {
			return before, err
		}
		next, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return before, err
		}
		l.file.Close()
		l.file = next
	}
	before = time.Now()
	_, err = l.file.Write(lines)
	return before, err
}

// flood writes so many bytes a second until it is stopped, one line in twenty of them an attack of
// 256 sources, and says how many those were.
func (l *busyLog) flood(b *testing.B, rate float64) (stop func() (written int)) {
	done, written := make(chan struct{}), 0
	var writer sync.WaitGroup
	writer.Go(func() {
		tick, began := time.NewTicker(time.Millisecond), time.Now()
		defer tick.Stop()
		for {
			lines := busyLines()
			for again := time.Now().Add(time.Second); time.Now().Before(again); { // the stamp is good for a second
				for float64(written) < time.Since(began).Seconds()*rate {
					if _, err := l.write(lines); err != nil {
						b.Error(err)
						return
					}
					written += len(lines)
				}
				select {
				case <-done:
					return
				case <-tick.C:
				}
			}
		}
	})
	return func() int {
		close(done)
		writer.Wait()
		return written
	}
}

// busyLines are lines of the time that it is, 64 KiB or so.
func busyLines() []byte {
	var lines []byte
	stamp := time.Now().Format(time.Stamp)
	for i := 0; len(lines) < 64<<10; i++ {
		if i%20 == 0 {
			lines = append(lines, failure(netip.AddrFrom4([4]byte{192, 0, 2, byte(i / 20)}))...)
			continue
		}
		lines = fmt.Appendf(lines, "%s server sshd[%d]: Accepted publickey for deploy from 198.51.100.77 port 50212 ssh2: ED25519 SHA256:abcdefghijk\n", stamp, 1000+i)
	}
	return lines
}

// A probe sends packets of any source from the peer, and hears which of them reach the server.
type probe struct {
	tb     testing.TB
	tx, rx int
	asked  byte
}

const probePort = 5062

func newProbe(s *site) *probe {
	s.Helper()
	p := &probe{tb: s}
	must(s, s.peer.Do(func() (err error) {
		p.tx, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	}))
	must(s, s.server.Do(func() (err error) {
		if p.rx, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		err = unix.SetsockoptTimeval(p.rx, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 3})
		return errors.Join(err, unix.Bind(p.rx, &unix.SockaddrInet4{Port: probePort}))
	}))
	s.Cleanup(func() { unix.Close(p.tx); unix.Close(p.rx) })
	return p
}

// passes sends a packet of source and says whether it reaches the server. One of the witness,
// sent behind it, says when that is decided: the cable keeps their order.
func (p *probe) passes(source netip.Addr) bool {
	p.tb.Helper()
	p.asked += 2
	p.send(source, p.asked)
	p.send(netip.MustParseAddr(witness), p.asked+1)
	passed, heard := false, []byte{0}
	for {
		_, _, err := unix.Recvfrom(p.rx, heard, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		must(p.tb, err)
		switch heard[0] {
		case p.asked:
			passed = true
		case p.asked + 1:
			return passed
		}
	}
}

// send sends a datagram of one byte.
func (p *probe) send(source netip.Addr, mark byte) {
	p.tb.Helper()
	to := &unix.SockaddrInet4{Addr: netip.MustParseAddr(server).As4()}
	packet := make([]byte, 20+8+1) // the kernel writes length and checksum of the header
	packet[0], packet[8], packet[9] = 0x45, 64, unix.IPPROTO_UDP
	copy(packet[12:], source.AsSlice())
	copy(packet[16:], to.Addr[:])
	packet[22], packet[23], packet[25], packet[28] = probePort>>8, probePort&0xff, 8+1, mark
	must(p.tb, unix.Sendto(p.tx, packet, 0, to))
}

// BenchmarkMillion bans a million addresses from a list, by the program's own command, and
// makes attempts meanwhile.
func BenchmarkMillion(b *testing.B) {
	const million = 1_000_000
	r := newRace(b, million+1<<17)
	list := new(bytes.Buffer)
	for addr, i := netip.MustParseAddr("11.0.0.0"), 0; i < million; addr, i = addr.Next(), i+1 {
		fmt.Fprintln(list, addr)
	}
	must(b, os.WriteFile(r.path("list"), list.Bytes(), 0o600))
	program, err := program()
	must(b, err)
	for b.Loop() {
		before, cpuBefore := r.resident(), r.cpu()
		began := time.Now()
		p := r.launch(exec.Command(program, "--socket", r.path("socket"), "ban", "--file", r.path("list")))
		times := r.attemptsUntil(p.ended)
		took := time.Since(began)
		if !p.ProcessState.Success() {
			b.Fatalf("ban: %v: %s", p.ProcessState, p.stderr.String())
		}
		if got := r.status().Bans.Live; got < million {
			b.Fatalf("%d bans are live", got)
		}
		cpu := r.cpu() - cpuBefore + p.ProcessState.UserTime() + p.ProcessState.SystemTime()
		percentiles(b, "map", times)
		b.ReportMetric(took.Seconds(), "s")
		b.ReportMetric(cpu.Seconds(), "cpu-s")
		b.ReportMetric((r.resident()-before)*(1<<20)/million, "B/ban")
	}
	b.ReportMetric(0, "ns/op")
}

// attemptsUntil makes attempts until something has ended, one at least.
func (r *race) attemptsUntil(ended <-chan struct{}) (times []time.Duration) {
	r.Helper()
	for {
		times = append(times, r.attempt(func() bool {
			<-time.After(time.Millisecond) // who asks all the time takes a CPU away
			return r.inMap()
		}))
		select {
		case <-ended:
			return times
		default:
		}
	}
}

// BenchmarkFail2ban makes attempts at fail2ban's server, on an idle log: until its action has
// written the address to a file.
func BenchmarkFail2ban(b *testing.B) {
	for _, backend := range []string{"pyinotify", "polling"} {
		b.Run("backend="+backend, func(b *testing.B) {
			s := newSite(b, nativeMTU)
			s.fail2ban(backend)
			source := netip.MustParseAddr("10.0.0.0")
			for b.Loop() {
				var times []time.Duration
				for range 30 {
					source = source.Next()
					want := []byte(source.String() + "\n")
					began := time.Now()
					_, err := s.authLog.Write(failure(source))
					must(b, err)
					s.await("fail2ban's ban", func() bool {
						text, err := os.ReadFile(s.path("banned"))
						return err == nil && bytes.HasSuffix(text, want)
					})
					times = append(times, time.Since(began))
				}
				percentiles(b, "ban", times)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// fail2ban starts its server with a configuration of its own, and waits until it answers.
func (s *site) fail2ban(backend string) {
	s.Helper()
	for _, program := range []string{"fail2ban-server", "fail2ban-client"} {
		if _, err := exec.LookPath(program); err != nil {
			s.Skipf("%v: apt-get install fail2ban", err)
		}
	}
	if backend == "pyinotify" {
		if out, err := exec.Command("/usr/bin/python3", "-c", "import pyinotify").CombinedOutput(); err != nil {
			s.Skipf("import pyinotify: %v: apt-get install python3-pyinotify: %s", err, out)
		}
	}
	must(s, os.MkdirAll(s.path("f2b/action.d"), 0o755))
	must(s, os.Symlink("/etc/fail2ban/filter.d", s.path("f2b/filter.d")))
	for name, text := range map[string]string{
		"fail2ban.conf": "[DEFAULT]\nloglevel = INFO\nlogtarget = " + s.path("f2b.log") + "\nsyslogsocket = auto\nsocket = " + s.path("f2b.sock") +
			"\npidfile = " + s.path("f2b.pid") + "\ndbfile = None\ndbpurgeage = 1d\ndbmaxmatches = 10\n[Definition]\n[Thread]\n",
		"jail.conf": "[DEFAULT]\nbackend = " + backend + "\nusedns = no\nmaxretry = 1\nfindtime = 10m\nbantime = 1h\nignoreself = false\n" +
			"[sshd]\nenabled = true\nfilter = sshd\nlogpath = " + s.path("auth.log") + "\naction = tofile\n",
		"action.d/tofile.conf": "[Definition]\nactionstart =\nactionstop =\nactioncheck =\nactionban = echo <ip> >> " + s.path("banned") + "\nactionunban =\n",
	} {
		must(s, os.WriteFile(s.path("f2b/"+name), []byte(text), 0o644))
	}
	p := s.launch(exec.Command("fail2ban-server", "-f", "-c", s.path("f2b"), "-s", s.path("f2b.sock"), "-p", s.path("f2b.pid"), "start"))
	s.await("an answer of fail2ban", func() bool {
		select {
		case <-p.ended:
			s.Fatalf("fail2ban ended: %v: %s", p.ProcessState, p.stderr.String())
		default:
		}
		return exec.Command("fail2ban-client", "-c", s.path("f2b"), "-s", s.path("f2b.sock"), "status", "sshd").Run() == nil
	})
}
