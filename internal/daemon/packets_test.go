package daemon

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// port is where the server listens.
const port = 5060

// A mouth sends to the server from one of the peer's addresses.
type mouth struct{ conn net.Conn }

func (s *site) mouth(source string) *mouth {
	s.Helper()
	if m, there := s.mouths[source]; there {
		return m
	}
	to := netip.MustParseAddr(server)
	from := netip.MustParseAddr(source)
	if from.Is6() {
		to = netip.MustParseAddr(server6)
	}
	m := new(mouth)
	must(s, s.peer.Do(func() (err error) {
		m.conn, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, port)))
		return err
	}))
	s.Cleanup(func() { m.conn.Close() })
	s.mouths[source] = m
	return m
}

func (m *mouth) send() error {
	_, err := m.conn.Write([]byte("hello"))
	return err
}

// wantPass checks that packets of source reach the server.
func (s *site) wantPass(sources ...string) {
	s.Helper()
	for _, source := range sources {
		if !s.reaches(source) {
			s.Errorf("packets of %s do not reach the server; the daemon's log:\n%s", source, s.log())
		}
	}
}

// reaches sends packets of source until one of them is heard.
func (s *site) reaches(source string) bool {
	s.Helper()
	m, before := s.mouth(source), s.ear.From(source)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		must(s, m.send())
		for again := time.Now().Add(20 * time.Millisecond); time.Now().Before(again); time.Sleep(100 * time.Microsecond) {
			if s.ear.From(source) > before {
				return true
			}
		}
	}
	return false
}

// wantDrop checks that packets of the sources do not reach the server. Packets of the
// witness, sent later, do: the cable keeps their order, so those before have been judged.
func (s *site) wantDrop(sources ...string) {
	s.Helper()
	for _, source := range sources {
		m, before := s.mouth(source), s.ear.From(source)
		for range 3 {
			must(s, m.send())
		}
		s.wantPass(witness)
		if passed := s.ear.From(source) - before; passed != 0 {
			s.Errorf("%d of 3 packets of %s reached the server; the daemon's log:\n%s", passed, source, s.log())
		}
	}
}

// An attack sends packets of the attacker at a steady pace.
type attack struct {
	site   *site
	before int // heard of the attacker before it
	mu     sync.Mutex
	sent   int
	stop   chan struct{}
	gone   sync.WaitGroup
}

func (s *site) attack(pace time.Duration) *attack {
	s.Helper()
	a := &attack{site: s, before: s.ear.From(attacker), stop: make(chan struct{})}
	m := s.mouth(attacker)
	a.gone.Go(func() {
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for {
			select {
			case <-a.stop:
				return
			case <-tick.C:
			}
			if m.send() == nil {
				a.mu.Lock()
				a.sent++
				a.mu.Unlock()
			}
		}
	})
	return a
}

func (a *attack) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sent
}

// goOn waits for so many packets more.
func (a *attack) goOn(more int) {
	a.site.Helper()
	enough := a.count() + more
	a.site.await("packets of the attack", func() bool { return a.count() >= enough })
}

// end stops the attack and says how many of its packets were sent, and how many passed.
func (a *attack) end() (sent, passed int) {
	a.site.Helper()
	close(a.stop)
	a.gone.Wait()
	a.site.wantPass(witness)
	return a.count(), a.site.ear.From(attacker) - a.before
}
