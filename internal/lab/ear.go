package lab

import (
	"errors"
	"net"
	"net/netip"
	"sync"
)

// An Ear counts the datagrams that reach a UDP port of a host, by source.
type Ear struct {
	mu    sync.Mutex
	heard map[netip.Addr]int
}

// Listen opens an ear on a port of host until the test ends. It answers datagrams that begin
// with "echo", so that a flow goes in both directions.
func Listen(tb TB, host *Host, port int) *Ear {
	tb.Helper()
	var conn *net.UDPConn
	err := host.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", &net.UDPAddr{Port: port})
		return err
	})
	if err != nil {
		tb.Fatalf("listen on port %d: %v", port, err)
	}
	e := &Ear{heard: make(map[netip.Addr]int)}
	var counting sync.WaitGroup
	counting.Go(func() { e.count(conn) })
	tb.Cleanup(func() {
		conn.Close()
		counting.Wait()
	})
	return e
}

func (e *Ear) count(conn *net.UDPConn) {
	datagram := make([]byte, 64)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(datagram)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		e.mu.Lock()
		e.heard[from.Addr().Unmap()]++
		e.mu.Unlock()
		if n >= 4 && string(datagram[:4]) == "echo" {
			conn.WriteToUDPAddrPort(datagram[:4], from) //nolint:errcheck // a lost answer is as good as a dropped one
		}
	}
}

// From is how many datagrams of source have been heard.
func (e *Ear) From(source string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.heard[netip.MustParseAddr(source)]
}
