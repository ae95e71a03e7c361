package fallback_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xdpban/fallback"
	"xdpban/internal/ban"
	"xdpban/internal/lab"
)

// BenchmarkPacketOfABannedSource sends datagrams over the loopback of a host of its own,
// from a banned address: without a chain, then with one ban, then with many. The ratios are
// to the first.
func BenchmarkPacketOfABannedSource(b *testing.B) {
	floor := 0.0
	for _, bench := range []struct {
		strategy string
		bans     int
	}{{"", 0}, {fallback.IPSet, 1}, {fallback.IPSet, 100_000}, {fallback.Recent, 1}, {fallback.Recent, 1_000}} {
		name := fmt.Sprintf("%s-%d", bench.strategy, bench.bans)
		if bench.strategy == "" {
			name = "no chain"
		}
		b.Run(name, func(b *testing.B) {
			host := lab.Hosts(b, 1)[0]
			if err := host.Address("lo", "192.0.2.1/32"); err != nil {
				b.Fatal(err)
			}
			err := host.Do(func() error {
				if bench.strategy != "" {
					if err := fill(bench.strategy, bench.bans); err != nil {
						return err
					}
				}
				return flood(b)
			})
			if err != nil {
				b.Fatal(err)
			}
			each := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			if bench.strategy == "" {
				floor = each
			}
			if floor > 0 {
				b.ReportMetric(each/floor, "x-without")
			}
		})
	}
}

// fill makes so many bans, 192.0.2.1 the last of them.
func fill(strategy string, n int) error {
	chain, err := fallback.Open(fallback.Settings{
		IPv6Prefix: 64, MaxBans: 131072, MaxPrefixes: 64, MaxAllowed: 64, Quiet: aBan("192.0.2.1").Quiet,
		Kind: fallback.NFT, Strategy: strategy,
	})
	if err != nil {
		return err
	}
	var bans []ban.Ban
	for addr := netip.MustParseAddr("10.0.0.1"); len(bans) < n-1; addr = addr.Next() {
		bans = append(bans, aBan(addr.String()))
	}
	return chain.Ban(append(bans, aBan("192.0.2.1"))...)
}

// flood sends b.N datagrams from 192.0.2.1 to itself, where nobody listens.
func flood(b *testing.B) error {
	s, err := speak()
	if err != nil {
		return err
	}
	defer unix.Close(s.fd)
	b.ResetTimer()
	err = s.send(b.N)
	b.StopTimer()
	return err
}

// A speaker is a socket of 192.0.2.1.
type speaker struct{ fd int }

func speak() (speaker, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return speaker{}, err
	}
	return speaker{fd}, unix.Bind(fd, &unix.SockaddrInet4{Addr: bannedAddr})
}

var bannedAddr = [4]byte{192, 0, 2, 1}

// send sends n datagrams to the speaker's own address.
func (s speaker) send(n int) error {
	to := &unix.SockaddrInet4{Port: 9, Addr: bannedAddr}
	payload := make([]byte, 32)
	for range n {
		if err := unix.Sendto(s.fd, payload, 0, to); err != nil && err != unix.ECONNREFUSED {
			return err
		}
	}
	return nil
}

// BenchmarkManyBans sends from a banned address, in turns where it is banned alone and where it
// is one of many.
func BenchmarkManyBans(b *testing.B) {
	for _, bench := range []struct {
		strategy string
		bans     int
	}{{fallback.IPSet, 100_000}, {fallback.Recent, 1_000}} {
		b.Run(fmt.Sprintf("%s/bans=%d/of", bench.strategy, bench.bans), func(b *testing.B) {
			one, many := banned(b, bench.strategy, 1), banned(b, bench.strategy, bench.bans)
			for b.Loop() {
				var ratios []float64
				for range 9 {
					few := took(b, one)
					ratios = append(ratios, took(b, many)/few)
				}
				slices.Sort(ratios)
				b.ReportMetric(ratios[len(ratios)/2], "many/one")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// banned is a speaker on a host of its own with so many bans.
func banned(b *testing.B, strategy string, bans int) (s speaker) {
	b.Helper()
	host := lab.Hosts(b, 1)[0]
	if err := host.Address("lo", "192.0.2.1/32"); err != nil {
		b.Fatal(err)
	}
	if err := host.Do(func() error { return fill(strategy, bans) }); err != nil {
		b.Fatal(err)
	}
	err := host.Do(func() (err error) {
		s, err = speak()
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Close(s.fd) })
	return s
}

// took is how long the speaker sends, in seconds.
func took(b *testing.B, s speaker) float64 {
	b.Helper()
	began := time.Now()
	if err := s.send(10_000); err != nil {
		b.Fatal(err)
	}
	return time.Since(began).Seconds()
}

// BenchmarkBansInBulk makes 100,000 bans by sets.
func BenchmarkBansInBulk(b *testing.B) {
	const many = 100_000
	for range b.N {
		host := lab.Hosts(b, 1)[0]
		if err := host.Do(func() error { return fill(fallback.IPSet, many) }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/many, "ns/ban")
}
