package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"xdpban/internal/control"
	"xdpban/internal/lab"
	"xdpban/loader"
)

// Who is on the cable. The peer has all addresses but the server's.
const (
	server    = "198.51.100.1"
	attacker  = "198.51.100.23"
	bystander = "198.51.100.24"
	gateway   = "198.51.100.254"
	witness   = "203.0.113.250" // that nobody bans

	server6    = "2001:db8:0:1::1"
	attacker6  = "2001:db8:0:7::1"
	neighbour6 = "2001:db8:0:7::2" // in the attacker's /64
	bystander6 = "2001:db8:0:8::1"
)

var (
	serverAddresses = []string{server + "/24", "203.0.113.1/24", server6 + "/48"}
	peerAddresses   = []string{
		attacker + "/24", bystander + "/24", gateway + "/24", witness + "/24",
		attacker6 + "/48", neighbour6 + "/48", bystander6 + "/48",
	}
)

// nativeMTU is what veth has by itself; with tooLarge it refuses native XDP (ERANGE).
const (
	nativeMTU = 1500
	tooLarge  = 3600
)

// patience is how long anything that comes at once may take on a busy machine.
var patience = 15 * time.Second * lab.Slowness

// A site is a server on whose eth0 the real program keeps watch, and its peer at the other
// end of the cable.
type site struct {
	testing.TB
	dir          string // short, as the path of a socket has to be
	server, peer *lab.Host
	mtu          int
	kernel       lab.Kernel // of the server; nil: this one
	authLog      *os.File
	client       *control.Client
	ear          *lab.Ear
	mouths       map[string]*mouth
	marker       netip.Addr
	running      *process
}

// newSite lays the cable and writes a configuration. No daemon runs yet.
func newSite(tb testing.TB, mtu int) *site {
	tb.Helper()
	hosts := lab.Hosts(tb, 2)
	dir, err := os.MkdirTemp("/run", "")
	must(tb, err)
	s := &site{TB: tb, dir: dir, server: hosts[0], peer: hosts[1], mtu: mtu, mouths: make(map[string]*mouth)}
	s.marker = netip.MustParseAddr("192.0.2.1")
	s.client = control.NewClient(s.path("socket"))
	s.authLog, err = os.OpenFile(s.path("auth.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(tb, err)
	tb.Cleanup(func() {
		s.authLog.Close()
		must(tb, loader.Remove(s.pin()))
	})
	s.plug()
	s.ear = lab.Listen(s, s.server, port)
	s.configure(nil)
	return s
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }
func (s *site) pin() string             { return "/sys/fs/bpf/" + filepath.Base(s.dir) }

// plug lays the cable. Both ends know each other, so that no packet waits for a question
// that a banned address would have to ask.
func (s *site) plug() {
	s.Helper()
	must(s, lab.Connect(s.server, "eth0", s.peer, "eth0"))
	must(s, s.server.Address("eth0", serverAddresses...))
	must(s, s.peer.Address("eth0", peerAddresses...))
	for _, h := range []*lab.Host{s.server, s.peer} {
		eth0, err := h.Links().LinkByName("eth0")
		must(s, err)
		must(s, h.Links().LinkSetMTU(eth0, s.mtu))
	}
	s.introduce(s.server, s.peer, peerAddresses)
	s.introduce(s.peer, s.server, serverAddresses)
}

// introduce tells host the link address of other for all of its addresses.
func (s *site) introduce(host, other *lab.Host, cidrs []string) {
	s.Helper()
	here, err := host.Links().LinkByName("eth0")
	must(s, err)
	there, err := other.Links().LinkByName("eth0")
	must(s, err)
	for _, cidr := range cidrs {
		must(s, host.Links().NeighSet(&netlink.Neigh{
			LinkIndex: here.Attrs().Index, HardwareAddr: there.Attrs().HardwareAddr,
			IP: netip.MustParsePrefix(cidr).Addr().AsSlice(), State: netlink.NUD_PERMANENT,
		}))
	}
}

// keys are top-level keys of a configuration and their values, in YAML.
type keys map[string]string

// configure writes the configuration, with changed in place of what all tests share.
func (s *site) configure(changed keys) {
	s.Helper()
	all := keys{
		"interfaces": "[eth0]",
		"socket":     s.path("socket"),
		"state":      s.path("state"),
		"pin":        s.pin(),
		"logtarget":  s.path("xdpban.log"),
		"maxbans":    "4096",
		"defaults":   "{bantime: 1h, findtime: 10m, maxretry: 3, quiettime: 1h}",
		"jails":      "{sshd: " + s.jail("") + "}",
	}
	maps.Copy(all, changed)
	text := new(strings.Builder)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(text, "%s: %s\n", key, all[key])
	}
	must(s, os.WriteFile(s.path("xdpban.yaml"), []byte(text.String()), 0o600))
}

// jail is a jail for sshd's log, with more keys.
func (s *site) jail(more string) string {
	return "{enabled: true, filter: sshd, logpath: [" + s.path("auth.log") + "]" + more + "}"
}

// A process is an xdpban that was started.
type process struct {
	*exec.Cmd
	stderr bytes.Buffer
	ended  chan struct{}
}

// launch starts args on the server.
func (s *site) launch(cmd *exec.Cmd) *process { s.Helper(); return s.launchBy(s.begin, cmd) }

// begin starts cmd on the server, with its kernel.
func (s *site) begin(cmd *exec.Cmd) error {
	if s.kernel == nil {
		return s.server.Start(cmd)
	}
	return s.server.StartOn(s.kernel, cmd)
}

func (s *site) launchBy(start func(*exec.Cmd) error, cmd *exec.Cmd) *process {
	s.Helper()
	p := &process{Cmd: cmd, ended: make(chan struct{})}
	cmd.Stderr = &p.stderr
	must(s, start(cmd))
	go func() {
		cmd.Wait() //nolint:errcheck // whoever cares asks ProcessState
		close(p.ended)
	}()
	s.Cleanup(func() {
		p.kill()
		if strings.Contains(p.stderr.String(), "DATA RACE") {
			s.Errorf("%s", p.stderr.String())
		}
	})
	return p
}

func (p *process) kill() {
	p.Process.Kill() //nolint:errcheck // it has ended, then
	<-p.ended
}

// exit waits for the end of p and returns its exit code and what it complained of.
func (s *site) exit(p *process) (code int, stderr string) {
	s.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		s.Fatalf("%v goes on, it should have ended", p.Args)
	}
	return p.ProcessState.ExitCode(), p.stderr.String()
}

// xdpban is the command line of the real program that runs the daemon.
func (s *site) xdpban() *exec.Cmd {
	s.Helper()
	path, err := program()
	must(s, err)
	return s.daemonOf(path)
}

func (s *site) daemonOf(path string) *exec.Cmd {
	return exec.Command(path, "run", "-c", s.path("xdpban.yaml"))
}

// start starts the daemon and waits until it answers.
func (s *site) start() { s.Helper(); s.startAs(s.xdpban()) }

func (s *site) startAs(cmd *exec.Cmd) { s.Helper(); s.startBy(s.begin, cmd) }

// startBy starts the daemon as start does.
func (s *site) startBy(start func(*exec.Cmd) error, cmd *exec.Cmd) {
	s.Helper()
	p := s.launchBy(start, cmd)
	s.running = p
	s.await("an answer of the daemon", func() bool {
		select {
		case <-p.ended:
			s.Fatalf("xdpban ended: %v: %s", p.ProcessState, p.stderr.String())
		default:
		}
		status, err := s.client.Status(s.Context())
		return err == nil && status.PID == p.Process.Pid
	})
}

// crash ends the daemon as no daemon wants to end.
func (s *site) crash() { s.running.kill() }

// status is the daemon's own account.
func (s *site) status() control.Status {
	s.Helper()
	status, err := s.client.Status(s.Context())
	must(s, err)
	return status
}

// sshd is what the daemon tells of the jail sshd.
func (s *site) sshd() control.Jail {
	s.Helper()
	for _, j := range s.status().Jails {
		if j.Name == "sshd" {
			return j
		}
	}
	s.Fatalf("there is no jail sshd")
	return control.Jail{}
}

// fail has sshd write that source failed, so many times.
func (s *site) fail(source string, times int) {
	s.Helper()
	for range times {
		_, err := fmt.Fprintf(s.authLog, "%s server sshd[4711]: Failed password for root from %s port 4242 ssh2\n", time.Now().Format(time.Stamp), source)
		must(s, err)
	}
}

// settle waits until all lines so far have been judged: later ones, of a source that no
// test asks for, have led to a ban. The jail must ban at the third line, or earlier.
func (s *site) settle() {
	s.Helper()
	s.marker = s.marker.Next()
	s.fail(s.marker.String(), 3)
	s.awaitBan(s.marker.String())
}

// banOf is the ban that source is under; nil: none.
func (s *site) banOf(source string) *control.Ban {
	s.Helper()
	bans, err := s.client.Bans(s.Context())
	must(s, err)
	for _, b := range bans {
		if b.Prefix.Contains(netip.MustParseAddr(source)) {
			return &b
		}
	}
	return nil
}

func (s *site) awaitBan(source string) control.Ban {
	s.Helper()
	var b *control.Ban
	s.await("the ban of "+source, func() bool {
		b = s.banOf(source)
		return b != nil
	})
	return *b
}

func (s *site) wantNoBan(source string) {
	s.Helper()
	if b := s.banOf(source); b != nil {
		s.Errorf("%s is banned: %+v", source, *b)
	}
}

// await asks done often until it says yes.
func (s *site) await(what string, done func() bool) {
	s.Helper()
	s.awaitWithin(patience, what, done)
}

func (s *site) awaitWithin(limit time.Duration, what string, done func() bool) {
	s.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); !done(); <-tick.C {
		if time.Now().After(end) {
			s.Fatalf("waited %v for %s; the daemon's log:\n%s", limit, what, s.log())
		}
	}
}

// log is what the daemon has written to its log.
func (s *site) log() string {
	text, err := os.ReadFile(s.path("xdpban.log"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.Errorf("read the log: %v", err)
	}
	return string(text)
}

// interfaces is how the daemon says it enforces: names and modes.
func (s *site) interfaces() map[string]string {
	s.Helper()
	modes := make(map[string]string)
	for _, i := range s.status().Interfaces {
		modes[i.Name] = i.Mode
	}
	return modes
}

// refused asks for something that has to be refused and returns the answer.
func refused[Request, Reply any](s *site, ask func(context.Context, Request) (Reply, error), request Request) *control.Error {
	s.Helper()
	_, err := ask(s.Context(), request)
	var answer *control.Error
	if !errors.As(err, &answer) {
		s.Fatalf("%+v: got %v, want an answer that refuses", request, err)
	}
	return answer
}
