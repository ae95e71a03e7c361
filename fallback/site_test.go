package fallback_test

import (
	"flag"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"xdpban/fallback"
	"xdpban/internal/ban"
	"xdpban/internal/lab"
)

func TestMain(m *testing.M) {
	flag.Parse()
	parallel := "6" // they wait most of their time
	if lab.Slowness > 1 {
		parallel = "1"
	}
	flag.Set("test.parallel", parallel) //nolint:errcheck // it is there
	os.Exit(lab.Main(m))
}

// second is one, and longer where the machine is emulated.
var (
	second      = time.Second * lab.Slowness
	millisecond = second / 1000
)

// patience is how long anything may take on a busy machine.
var patience = 30 * second

// Who is on the cable. The peer has all addresses but the server's.
const (
	server     = "198.51.100.1"
	attacker   = "198.51.100.23"
	bystander  = "198.51.100.24"
	other      = "203.0.113.24"
	server6    = "2001:db8:0:1::1"
	attacker6  = "2001:db8:0:7::1"
	neighbour6 = "2001:db8:0:7::2" // in the attacker's /64
	bystander6 = "2001:db8:0:8::1"
	port       = 5060
)

var (
	serverAddresses = []string{server + "/24", "203.0.113.1/24", server6 + "/48"}
	peerAddresses   = []string{attacker + "/24", bystander + "/24", other + "/24", attacker6 + "/48", neighbour6 + "/48", bystander6 + "/48"}
)

// A rung is one way to enforce.
type rung struct {
	kind     fallback.Kind
	strategy string
}

func (r rung) String() string { return string(r.kind) + "-" + r.strategy }

var rungs = []rung{
	{fallback.NFT, fallback.IPSet}, {fallback.Legacy, fallback.IPSet},
	{fallback.NFT, fallback.Recent}, {fallback.Legacy, fallback.Recent},
}

// onEach runs test on every rung, at the same time: they wait most of theirs.
func onEach(t *testing.T, test func(s *site)) { onEachOf(t, rungs, nil, test) }

// onEachOf is as onEach, with rungs and settings of the test's own.
func onEachOf(t *testing.T, rungs []rung, change func(*fallback.Settings), test func(s *site)) {
	t.Parallel()
	for _, r := range rungs {
		t.Run(r.String(), func(t *testing.T) {
			t.Parallel()
			test(newSite(t, r, change))
		})
	}
}

// A site is a server with the chain, and a peer that sends datagrams to it.
type site struct {
	*testing.T
	rung         rung
	server, peer *lab.Host
	settings     fallback.Settings
	chain        *fallback.Chain
	ear          *lab.Ear
	mouths       map[string]net.Conn
}

func newSite(t *testing.T, r rung, change func(*fallback.Settings)) *site {
	t.Helper()
	hosts := lab.Hosts(t, 2)
	s := &site{T: t, rung: r, server: hosts[0], peer: hosts[1], mouths: make(map[string]net.Conn)}
	s.settings = fallback.Settings{
		IPv6Prefix: 64, MaxBans: 4096, MaxPrefixes: 256, MaxAllowed: 64,
		Quiet: time.Hour, Kind: r.kind, Strategy: r.strategy,
	}
	if change != nil {
		change(&s.settings)
	}
	must(t, lab.Connect(s.server, "eth0", s.peer, "eth0"))
	must(t, s.server.Address("eth0", serverAddresses...))
	must(t, s.peer.Address("eth0", peerAddresses...))
	s.introduce(s.server, s.peer, peerAddresses)
	s.introduce(s.peer, s.server, serverAddresses)
	s.ear = lab.Listen(t, s.server, port)
	s.open()
	return s
}

// introduce tells host the link address of other for all of its addresses.
func (s *site) introduce(host, other *lab.Host, cidrs []string) {
	s.Helper()
	here, err := host.Links().LinkByName("eth0")
	must(s.T, err)
	there, err := other.Links().LinkByName("eth0")
	must(s.T, err)
	for _, cidr := range cidrs {
		must(s.T, host.Links().NeighSet(&netlink.Neigh{
			LinkIndex: here.Attrs().Index, HardwareAddr: there.Attrs().HardwareAddr,
			IP: netip.MustParsePrefix(cidr).Addr().AsSlice(), State: netlink.NUD_PERMANENT,
		}))
	}
}

// open makes the chain, or takes it over as the next daemon would.
func (s *site) open() {
	s.Helper()
	s.do(func() (err error) {
		s.chain, err = fallback.Open(s.settings)
		return err
	})
	for _, addr := range []string{attacker, attacker6} {
		if got := s.chain.Strategy(netip.MustParseAddr(addr)); got != s.rung.strategy {
			s.Fatalf("the strategy for %s is %q: %q", addr, got, s.chain.Notes())
		}
	}
}

// do runs fn on the server, again where another of these tests has had the lock of iptables for as long as
// iptables waits for it: a daemon comes back too.
func (s *site) do(fn func() error) {
	s.Helper()
	err := s.server.Do(fn)
	for end := time.Now().Add(patience); err != nil && strings.Contains(err.Error(), "Can't lock") && time.Now().Before(end); {
		err = s.server.Do(fn)
	}
	must(s.T, err)
}

func (s *site) send(source, text string) {
	s.Helper()
	conn, there := s.mouths[source]
	if !there {
		to, from := netip.MustParseAddr(server), netip.MustParseAddr(source)
		if from.Is6() {
			to = netip.MustParseAddr(server6)
		}
		must(s.T, s.peer.Do(func() (err error) {
			conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, port)))
			return err
		}))
		s.Cleanup(func() { conn.Close() })
		s.mouths[source] = conn
	}
	_, err := conn.Write([]byte(text))
	must(s.T, err)
}

// passes reports whether a packet of source reaches the server. On the cable and on the
// loopback of the lab, packets are delivered while they are sent.
func (s *site) passes(source string) bool { s.Helper(); return s.passesWithin(300*millisecond, source) }

func (s *site) passesWithin(limit time.Duration, source string) bool {
	s.Helper()
	before := s.ear.From(source)
	s.send(source, "hello")
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if s.ear.From(source) > before {
			return true
		}
	}
	return false
}

func (s *site) wantPass(sources ...string) {
	s.Helper()
	for _, source := range sources {
		if !s.passesWithin(patience, source) {
			s.Errorf("packets of %s do not reach the server:\n%s", source, s.rules())
		}
	}
}

// wantDrop checks that packets of sources, all sent at one time, do not reach the server.
func (s *site) wantDrop(sources ...string) {
	s.Helper()
	before := make(map[string]int)
	for _, source := range sources {
		before[source] = s.ear.From(source)
	}
	for _, source := range sources {
		s.send(source, "hello")
	}
	time.Sleep(300 * millisecond)
	for source, heard := range before {
		if s.ear.From(source) > heard {
			s.Errorf("packets of %s reach the server:\n%s", source, s.rules())
		}
	}
}

// await asks done often until it says yes, and says how long that took.
func (s *site) await(limit time.Duration, what string, done func() bool) time.Duration {
	s.Helper()
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if done() {
			return time.Since(begin)
		}
		if time.Since(begin) > limit {
			s.Fatalf("waited %v for %s:\n%s", limit, what, s.rules())
		}
	}
}

// command is iptables or one of its kin of the site's kind.
func (s *site) command(name string) string { return name + "-" + string(s.rung.kind) }

// run runs a command on the server and returns what it prints.
func (s *site) run(name string, args ...string) string {
	s.Helper()
	var out []byte
	s.do(func() (err error) {
		out, err = exec.Command(name, args...).CombinedOutput()
		if err != nil {
			s.Logf("%s", out)
		}
		return err
	})
	return string(out)
}

// rules are those of both families, for whoever has to find out what is wrong.
func (s *site) rules() string {
	s.Helper()
	return s.run(s.command("iptables"), "-v", "-S") + s.run(s.command("ip6tables"), "-v", "-S") + s.run("ipset", "list")
}

// rulesOf lists those of an IPv4 chain.
func (s *site) rulesOf(chain string) []string {
	s.Helper()
	var rules []string
	for line := range strings.Lines(s.run(s.command("iptables"), "-S", chain)) {
		if strings.HasPrefix(line, "-A") {
			rules = append(rules, strings.TrimSpace(line))
		}
	}
	return rules
}

// aBan is one of an hour, which packets prolong to an hour from then.
func aBan(prefix string) ban.Ban {
	p, err := ban.ParsePrefix(prefix)
	if err != nil {
		panic(err)
	}
	now := time.Now()
	return ban.Ban{Prefix: p, Jail: "sshd", Reason: "failed-password", Since: now, End: now.Add(time.Hour), Quiet: time.Hour}
}

func (s *site) ban(bans ...ban.Ban) {
	s.Helper()
	s.do(func() error { return s.chain.Ban(bans...) })
}

func (s *site) unban(prefixes ...string) (n int) {
	s.Helper()
	s.do(func() (err error) {
		n, err = s.chain.Unban(prefixesOf(prefixes)...)
		return err
	})
	return n
}

func prefixesOf(texts []string) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, text := range texts {
		prefixes = append(prefixes, aBan(text).Prefix)
	}
	return prefixes
}

func (s *site) sweep() (ended []ban.Record, missing []netip.Prefix) {
	s.Helper()
	s.do(func() (err error) {
		ended, missing, err = s.chain.Sweep()
		return err
	})
	return ended, missing
}

func (s *site) bans() map[string]ban.Record {
	s.Helper()
	bans := make(map[string]ban.Record)
	s.do(func() error {
		list, err := s.chain.Bans()
		for _, r := range list {
			bans[r.Prefix.String()] = r
		}
		return err
	})
	return bans
}

func (s *site) test(addr string) (v fallback.Verdict) {
	s.Helper()
	s.do(func() (err error) {
		v, err = s.chain.Test(netip.MustParseAddr(addr))
		return err
	})
	return v
}

func (s *site) allow(prefixes ...string) {
	s.Helper()
	set := new(ban.Set)
	for _, p := range prefixesOf(prefixes) {
		set.Add(p, "ignoreip")
	}
	s.do(func() error { return s.chain.Allow(set) })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
