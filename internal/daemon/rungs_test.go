package daemon

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"xdpban/internal/control"
	"xdpban/internal/lab"
)

// A rung is one way to enforce, and how to have a daemon choose it.
type rung struct {
	name    string
	mtu     int
	enforce string
	mode    string // of eth0
	note    string // what status must say
	kind    string // of iptables; empty: not used
	noSets  bool
	kernel  lab.Kernel // nil: this one
}

var rungs = []rung{
	{name: "native", mtu: nativeMTU, enforce: "xdp", mode: "native"},
	{name: "generic", mtu: tooLarge, enforce: "xdp", mode: "generic"},
	{name: "netlink", mtu: nativeMTU, enforce: "xdp", mode: "native", kernel: lab.WithoutLinks},
	{name: "ipset nft", mtu: nativeMTU, enforce: "iptables", mode: "iptables", note: "ipset by iptables-nft", kind: "nft"},
	{name: "ipset legacy", mtu: nativeMTU, enforce: "iptables", mode: "iptables", note: "ipset by iptables-legacy", kind: "legacy"},
	{name: "recent nft", mtu: nativeMTU, enforce: "iptables", mode: "iptables", note: "recent by iptables-nft", kind: "nft", noSets: true},
	{name: "recent legacy", mtu: nativeMTU, enforce: "iptables", mode: "iptables", note: "recent by iptables-legacy", kind: "legacy", noSets: true},
}

// Who is on the cable besides.
const (
	byLog    = "198.51.100.31"
	byHand   = "198.51.100.32"
	limited  = "198.51.100.33"
	inPrefix = "203.0.113.10"
	allowed  = "203.0.113.70"
	besideIt = "203.0.113.71"
)

var cast = []string{byLog + "/24", byHand + "/24", limited + "/24", inPrefix + "/24", allowed + "/24", besideIt + "/24"}

// newRung is a site whose daemon enforces by r.
func newRung(t *testing.T, r rung) *site {
	t.Helper()
	s := newSite(t, r.mtu)
	s.kernel = r.kernel
	must(t, s.peer.Address("eth0", cast...))
	s.introduce(s.server, s.peer, cast)
	if r.kind != "" {
		s.on("iptables-"+r.kind, "-A", "INPUT", "-s", "192.0.2.1", "-j", "ACCEPT") // the kind in use
	}
	if r.noSets { // others of that name, which are something else
		s.on("ipset", "create", "xdpban4-allow", "hash:ip,port")
		s.on("ipset", "create", "xdpban6-allow", "hash:ip,port")
	}
	must(t, os.WriteFile(s.path("limited.log"), nil, 0o600))
	s.configure(keys{
		"enforce":  r.enforce,
		"maxbans":  "20000",
		"defaults": "{bantime: " + seconds(3) + ", findtime: 10m, maxretry: 3, quiettime: " + seconds(3) + ", ignoreip: ['" + allowed + "']}",
		"jails": "{sshd: " + s.jail("") + ", limited: {enabled: true, filter: sshd, logpath: [" + s.path("limited.log") +
			"], bantime: " + seconds(2) + ", maxbantime: " + seconds(5) + ", quiettime: 1h}}",
	})
	s.start()
	if got := s.interfaces()["eth0"]; got != r.mode {
		t.Fatalf("eth0 is in mode %s, want %s: %+v", got, r.mode, s.status().Interfaces)
	}
	if r.kernel != nil {
		s.wantReason("eth0", "attached by netlink")
	}
	if notes := strings.Join(s.status().Chain.Notes, "\n"); r.note != "" && strings.Count(notes, r.note) != 2 {
		t.Fatalf("want %q for both families, got:\n%s", r.note, notes)
	}
	return s
}

// stories are what has to come out the same on every rung, one after the other.
var stories = []struct {
	name string
	tell func(s *site)
}{
	{"ban by log", func(s *site) {
		s.wantPass(byLog)
		s.fail(byLog, 3)
		s.awaitBan(byLog)
		s.wantDrop(byLog)
		s.wantPass(bystander)
	}},
	{"IPv6, by its /64", func(s *site) {
		s.fail(attacker6, 3)
		s.awaitBan(attacker6)
		s.wantDrop(attacker6, neighbour6)
		s.wantPass(bystander6)
	}},
	{"ban and unban by hand", func(s *site) {
		s.ban(control.BanRequest{Addresses: addresses(byHand), Seconds: 3600})
		s.wantDrop(byHand)
		s.unban(control.UnbanRequest{Addresses: addresses(byHand)})
		s.wantPass(byHand)
		s.wantNoBan(byHand)
	}},
	{"a prefix", func(s *site) {
		s.ban(control.BanRequest{Prefixes: prefixes("203.0.113.0/26"), Seconds: 3600})
		s.wantDrop(inPrefix)
		s.wantPass(witness)
		s.unban(control.UnbanRequest{Prefixes: prefixes("203.0.113.0/26")})
		s.wantPass(inPrefix)
	}},
	{"refresh under attack, then quiet", func(s *site) {
		s.fail(attacker, 3)
		s.awaitBan(attacker)
		last := s.floods(attacker, 5*time.Second*lab.Slowness)
		s.await("the end of the ban", func() bool { return s.banOf(attacker) == nil })
		if quiet := time.Since(last); quiet < 2900*time.Millisecond*lab.Slowness || quiet > 8*time.Second*lab.Slowness {
			s.Errorf("let in %v after the last packet, want %v", quiet, 3*time.Second*lab.Slowness)
		}
		// The kernel's clock may be a little behind ours: a packet too early prolongs the ban.
		<-time.After(time.Second)
		s.wantPass(attacker)
	}},
	{"no longer than the limit", func(s *site) {
		begin := time.Now()
		log, err := os.OpenFile(s.path("limited.log"), os.O_APPEND|os.O_WRONLY, 0)
		must(s, err)
		defer log.Close()
		for range 3 {
			fmt.Fprintf(log, "%s server sshd[4711]: Failed password for root from %s port 4242 ssh2\n", time.Now().Format(time.Stamp), limited)
		}
		s.awaitBan(limited)
		s.floods(limited, 3*time.Second*lab.Slowness-time.Since(begin))
		heard := s.ear.From(limited)
		s.await("the limit, under attack", func() bool {
			must(s, s.mouth(limited).send())
			return s.ear.From(limited) > heard
		})
		if held := time.Since(begin); held < 3500*time.Millisecond*lab.Slowness || held > 9*time.Second*lab.Slowness {
			s.Errorf("let in after %v, want %v", held, 5*time.Second*lab.Slowness)
		}
	}},
	{"who is allowed is spared", func(s *site) {
		s.fail(allowed, 5)
		s.settle()
		s.wantNoBan(allowed)
		s.ban(control.BanRequest{Prefixes: prefixes("203.0.113.64/26"), Seconds: 3600})
		s.wantDrop(besideIt)
		s.wantPass(allowed)
		s.unban(control.UnbanRequest{Prefixes: prefixes("203.0.113.64/26")})
	}},
	{"10,000 bans", func(s *site) {
		request := control.BanRequest{Seconds: 3600}
		for addr := netip.MustParseAddr("10.1.0.0"); len(request.Prefixes) < 9999; {
			addr = addr.Next()
			request.Prefixes = append(request.Prefixes, netip.PrefixFrom(addr, 32))
		}
		request.Prefixes = append(request.Prefixes, prefixes(byHand+"/32")...)
		_, err := s.client.Ban(s.Context(), request)
		must(s, err)
		s.wantDrop(byHand)
		s.wantPass(bystander, bystander6)
		reply, err := s.client.Verify(s.Context(), control.VerifyRequest{})
		must(s, err)
		if c := reply.Compared; c.Enforced < 10000 || c.Repaired != 0 || len(c.Unknown) != 0 {
			s.Errorf("compared: %+v", *c)
		}
		s.unban(control.UnbanRequest{All: true})
		s.wantPass(byHand)
	}},
	{"verify agrees", func(s *site) {
		s.ban(control.BanRequest{Addresses: addresses(byHand), Seconds: 3600})
		for source, want := range map[string]string{byHand: control.Drop, bystander: control.Pass, bystander6: control.Pass} {
			reply, err := s.client.Verify(s.Context(), control.VerifyRequest{Address: netip.MustParseAddr(source)})
			must(s, err)
			if len(reply.Verdicts) != 1 || reply.Verdicts[0].Verdict != want {
				s.Errorf("%s: %+v, want %s", source, reply.Verdicts, want)
			}
		}
		s.wantDrop(byHand)
	}},
	{"bans survive the daemon", func(s *site) {
		s.crash()
		s.wantDrop(byHand)
		s.start()
		s.wantDrop(byHand)
		if b := s.awaitBan(byHand); b.Jail != "manual" {
			s.Errorf("adopted %+v", b)
		}
		s.unban(control.UnbanRequest{Addresses: addresses(byHand)})
		s.wantPass(byHand)
	}},
}

// floods has source send for so long and wants nothing of it heard. It says when the last
// packet was.
func (s *site) floods(source string, length time.Duration) (last time.Time) {
	s.Helper()
	heard := s.ear.From(source)
	for begin := time.Now(); time.Since(begin) < length; time.Sleep(5 * time.Millisecond) {
		last = time.Now()
		must(s, s.mouth(source).send())
	}
	s.wantPass(witness)
	if passed := s.ear.From(source) - heard; passed != 0 {
		s.Errorf("%d packets of %s passed", passed, source)
	}
	return last
}

// TestEveryRungTellsTheSameStory is what a ban means, by every way to enforce it.
func TestEveryRungTellsTheSameStory(t *testing.T) {
	var mu sync.Mutex
	outcomes := make(map[string]string)
	t.Cleanup(func() {
		for _, story := range stories {
			line := fmt.Sprintf("%-34s", story.name)
			for _, r := range rungs {
				line += fmt.Sprintf("%-14s", r.name+": "+outcomes[r.name+story.name])
			}
			t.Log(line)
		}
	})
	for _, r := range rungs {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			if r.enforce == "xdp" && !lab.HasBPF() {
				refuses(t, r)
				mu.Lock()
				defer mu.Unlock()
				for _, story := range stories {
					outcomes[r.name+story.name] = "no XDP "
				}
				return
			}
			s := newRung(t, r)
			for _, story := range stories {
				ok := t.Run(story.name, func(t *testing.T) {
					outer := s.TB
					defer func() { s.TB = outer }()
					s.TB = within{outer, t}
					story.tell(s)
				})
				mu.Lock()
				outcomes[r.name+story.name] = map[bool]string{true: "ok ", false: "FAILED "}[ok]
				mu.Unlock()
			}
		})
	}
}

// refuses checks that on a kernel without bpf(2) a daemon that must enforce by r does not start.
func refuses(t *testing.T, r rung) {
	t.Helper()
	s := newSite(t, r.mtu)
	s.kernel = r.kernel
	s.configure(keys{"enforce": r.enforce})
	if code, stderr := s.exit(s.launch(s.xdpban())); code != 1 || !strings.Contains(stderr, "function not implemented") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

// within is a test in whose story another goes on: what fails is the story, what has to be
// cleaned up belongs to all of them.
type within struct {
	testing.TB
	story *testing.T
}

// Errorf fails the story, as do the others.
func (w within) Errorf(format string, args ...any) { w.story.Helper(); w.story.Errorf(format, args...) }

// Fatalf fails the story and ends it.
func (w within) Fatalf(format string, args ...any) { w.story.Helper(); w.story.Fatalf(format, args...) }

// Fatal is as Fatalf.
func (w within) Fatal(args ...any) { w.story.Helper(); w.story.Fatal(args...) }

// Helper marks whoever calls it.
func (w within) Helper() { w.story.Helper() }
