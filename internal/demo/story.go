// Package demo shows the main job on real traffic: a SIP server, a scanner, and xdpban
// between them, in network namespaces of their own.
package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"xdpban/internal/control"
	"xdpban/internal/lab"
)

// Where things are in the lab, whose /run is its own.
const (
	dir       = "/run/demo"
	sipLog    = dir + "/sip.log"
	ownLog    = dir + "/xdpban.log"
	ownConfig = dir + "/xdpban.yaml"
	socket    = dir + "/xdpban.sock"
	nic       = "sip0" // the server's interface
)

var (
	serverAddr  = netip.MustParseAddr("198.51.100.1")
	scannerAddr = netip.MustParseAddr("198.51.100.23")
)

// The times of the demo's bans: short, so that the end can be waited for.
const (
	banTime   = 10 * time.Second
	quietTime = 6 * time.Second
)

// patience is how long anything that should come at once may take.
const patience = 20 * time.Second

// A Story is one run of the demo. It must run inside the lab.
type Story struct {
	Program string    // the xdpban that is shown
	Out     io.Writer // where it is told
	OwnSIP  bool      // our own SIP server and scanner, even where Kamailio and sipp are there

	began           time.Time
	server, scanner *lab.Host
	peers           peers
	daemon          *exec.Cmd
	client          *control.Client
}

// Run tells the story to its end, or to the first thing that does not go as it should.
func (s *Story) Run(ctx context.Context) error {
	s.began = time.Now()
	s.client = control.NewClient(socket)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	s.title("A SIP server, a scanner, and xdpban. All of it runs in namespaces of its own;\nnothing outside is touched, nothing is left behind.")
	defer s.sweepUp()
	for _, chapter := range []struct {
		title string
		tell  func(context.Context) error
	}{
		{"The hosts", s.layCable},
		{"The SIP server", s.startServer},
		{"xdpban", s.startDaemon},
		{"The attack", s.attack},
		{"The ban: packets are dropped in the kernel, and its end moves with them", s.watchDrops},
		{"xdpban is killed (SIGKILL)", s.kill},
		{"xdpban is started again", s.restart},
		{"The scanner falls quiet", s.fallQuiet},
	} {
		s.title(chapter.title)
		if err := chapter.tell(ctx); err != nil {
			return fmt.Errorf("%s: %w", strings.ToLower(chapter.title), err)
		}
	}
	s.title(fmt.Sprintf("Done in %s.", time.Since(s.began).Round(time.Second)))
	return nil
}

func (s *Story) layCable(context.Context) (err error) {
	if s.server, err = lab.NewHost(); err != nil {
		return err
	}
	if s.scanner, err = lab.NewHost(); err != nil {
		return err
	}
	if err := lab.Connect(s.server, nic, s.scanner, "net0"); err != nil {
		return err
	}
	if err := s.server.Address(nic, serverAddr.String()+"/24"); err != nil {
		return err
	}
	if err := s.scanner.Address("net0", scannerAddr.String()+"/24"); err != nil {
		return err
	}
	s.say("server %s, scanner %s, one cable between them", serverAddr, scannerAddr)
	return nil
}

func (s *Story) startServer(ctx context.Context) error {
	missing := missingPeers()
	switch {
	case s.OwnSIP:
		s.say("as asked, our own small SIP server and scanner")
		s.peers = new(ownPeers)
	case missing != "":
		s.say("%s is not installed (apt-get install kamailio sip-tester): our own small SIP server and scanner instead", missing)
		s.peers = new(ownPeers)
	default:
		s.peers = new(realPeers)
	}
	name, err := s.peers.serve(s.server)
	if err != nil {
		return err
	}
	if err := await(ctx, "an answer of the server", s.answered); err != nil {
		return err
	}
	s.say("%s answers on %s:5060 and logs by syslog", name, serverAddr)
	return nil
}

func (s *Story) startDaemon(ctx context.Context) error {
	config := fmt.Sprintf(`interfaces: [%s]
socket: %s
logtarget: %s
defaults: {bantime: %s, quiettime: %s}
jails:
%s`, nic, socket, ownLog, banTime, quietTime, s.peers.jail())
	if err := os.WriteFile(ownConfig, []byte(config), 0o644); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	for line := range strings.Lines(config) {
		s.quote(line)
	}
	if err := s.run(ctx); err != nil {
		return err
	}
	status, err := s.client.Status(ctx)
	if err != nil {
		return err
	}
	for _, i := range status.Interfaces {
		s.say("the XDP program is on %s, mode %s", i.Name, i.Mode)
	}
	return nil
}

// run starts the daemon and waits until it answers.
func (s *Story) run(ctx context.Context) error {
	s.daemon = exec.Command(s.Program, "run", "-c", ownConfig)
	s.daemon.Args[0] = "xdpban"
	s.daemon.Stderr = s.Out
	if err := s.server.Start(s.daemon); err != nil {
		return fmt.Errorf("start xdpban: %w", err)
	}
	return await(ctx, "an answer of xdpban", func() bool {
		_, err := s.client.Status(ctx)
		return err == nil
	})
}

func (s *Story) attack(ctx context.Context) error {
	name, err := s.peers.scan(s.scanner)
	if err != nil {
		return err
	}
	s.say("%s", name)
	var line string
	if err := await(ctx, "the attack in the log", func() bool {
		line = s.peers.evidence()
		return line != ""
	}); err != nil {
		return err
	}
	s.say("the server's log:")
	s.quote(line)
	if err := await(ctx, "the ban", func() bool { return s.ban(ctx) != nil }); err != nil {
		return err
	}
	b := s.ban(ctx)
	if b == nil {
		return fmt.Errorf("the ban has gone at once")
	}
	s.say("banned %s: jail %s, rule %s, until %s", scannerAddr, b.Jail, b.Reason, clock(b.End))
	return nil
}

func (s *Story) watchDrops(ctx context.Context) error {
	before := s.ban(ctx)
	for range 6 {
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		b := s.ban(ctx)
		if b == nil || before == nil {
			return fmt.Errorf("the ban ended while the attack goes on")
		}
		s.say("%4d packets/s dropped, %6d in all; the ban now ends at %s", b.Packets-before.Packets, b.Packets, clock(b.End))
		if b.Packets == before.Packets {
			return fmt.Errorf("no packet was dropped for a second")
		}
		before = b
	}
	return nil
}

func (s *Story) kill(ctx context.Context) error {
	if err := s.daemon.Process.Kill(); err != nil {
		return fmt.Errorf("kill xdpban: %w", err)
	}
	s.daemon.Wait() //nolint:errcheck // killed, as it says
	before, err := s.traffic()
	if err != nil {
		return err
	}
	for range 3 {
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		now, err := s.traffic()
		if err != nil {
			return err
		}
		s.say("no daemon: the scanner sent %d packets, %d of them reached the server", now.sent-before.sent, now.reached-before.reached)
		if now.reached != before.reached {
			return fmt.Errorf("packets came through")
		}
		before = now
	}
	return nil
}

func (s *Story) restart(ctx context.Context) error {
	if err := s.run(ctx); err != nil {
		return err
	}
	b := s.ban(ctx)
	if b == nil {
		return fmt.Errorf("the ban is lost")
	}
	s.say("it found the ban of %s in the kernel: %d packets dropped, until %s", scannerAddr, b.Packets, clock(b.End))
	return nil
}

func (s *Story) fallQuiet(ctx context.Context) error {
	s.peers.hush()
	quiet := time.Now()
	b := s.ban(ctx)
	if b == nil {
		return fmt.Errorf("the ban has ended already")
	}
	s.say("no more packets; the ban ends at %s if it stays so", clock(b.End))
	if err := await(ctx, "the end of the ban", func() bool { return s.ban(ctx) == nil }); err != nil {
		return err
	}
	s.say("the ban ended %s after the last packet", time.Since(quiet).Round(100*time.Millisecond))
	// The kernel's clock may be a little behind: who knocks too early is out for longer.
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	if err := await(ctx, "an answer of the server", s.answered); err != nil {
		return err
	}
	s.say("%s is let in again: the server answers it", scannerAddr)
	return nil
}

// sweepUp stops what the story started.
func (s *Story) sweepUp() {
	if s.peers != nil {
		s.peers.hush()
		s.peers.close()
	}
	if s.daemon != nil && s.daemon.ProcessState == nil {
		end(s.daemon)
	}
}

// ban is the scanner's ban as the daemon tells it; nil: there is none.
func (s *Story) ban(ctx context.Context) *control.Ban {
	bans, err := s.client.Bans(ctx)
	if err != nil {
		return nil
	}
	for _, b := range bans {
		if b.Prefix.Contains(scannerAddr) {
			return &b
		}
	}
	return nil
}

// answered reports whether the server answers the scanner's host.
func (s *Story) answered() bool {
	return s.scanner.Do(func() error { return knock(netip.AddrPortFrom(serverAddr, 5060)) }) == nil
}

// traffic counts what crossed the cable.
type traffic struct {
	sent    uint64 // by the scanner's interface
	reached uint64 // the server's UDP
}

func (s *Story) traffic() (t traffic, err error) {
	link, err := s.scanner.Links().LinkByName("net0")
	if err != nil {
		return t, fmt.Errorf("read the scanner's counters: %w", err)
	}
	t.sent = link.Attrs().Statistics.TxPackets
	err = s.server.Do(func() (err error) {
		t.reached, err = udpReceived("/proc/thread-self/net/snmp")
		return err
	})
	return t, err
}

// udpReceived reads how many datagrams reached UDP, for a listener or for nobody, from
// /proc/net/snmp: two lines of Udp, names and values.
func udpReceived(path string) (n uint64, err error) {
	text, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return 0, fmt.Errorf("read the server's counters: %w", err)
	}
	var received, unwanted uint64
	for line := range bytes.Lines(text) {
		if _, err := fmt.Sscanf(string(line), "Udp: %d %d", &received, &unwanted); err == nil {
			return received + unwanted, nil
		}
	}
	return 0, fmt.Errorf("find Udp in %s", path)
}
