package loader

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"xdpban/internal/ban"
)

// BenchmarkBan makes new bans, one after the other and many at once, in turns with other
// firewalls.
func BenchmarkBan(b *testing.B) {
	for _, iptables := range []string{"iptables", "iptables-legacy"} {
		b.Run("single/against="+iptables, func(b *testing.B) {
			peer(b, "iptables", iptables)
			w := newWire(b, 0)
			must(b, w.feed(ruleset(10_000), iptables+"-restore", "--noflush"))
			next := 0
			insert(b, 5, 200, func(l *Loader, bans []ban.Ban) {
				for i := range bans {
					if err := l.Ban(bans[i]); err != nil { // must would take a tenth of the time
						b.Fatal(err)
					}
				}
			}, 5, func() {
				for range 5 {
					next++
					must(b, w.victim.Run(iptables, "-A", "INPUT", "-s", fmt.Sprintf("10.1.%d.%d", next>>8, next&255), "-j", "DROP"))
				}
			})
		})
	}
	const many = 100_000
	all := func(l *Loader, bans []ban.Ban) { // as the daemon does with a list
		sources := new(ban.List)
		for i := range bans {
			sources.AddPrefix(bans[i].Prefix)
		}
		l.account.Arrange(sources)
		next := make([]ban.Ban, 0, atOnce)
		for i := range sources.Len() {
			next = append(next, bans[0])
			next[len(next)-1].Prefix, _ = sources.At(i)
			if len(next) == atOnce || i == sources.Len()-1 {
				must(b, l.Ban(next...))
				next = next[:0]
			}
		}
	}
	b.Run("bulk/against=ipset", func(b *testing.B) {
		peer(b, "ipset", "ipset")
		w, text := newWire(b, 0), new(strings.Builder)
		text.WriteString("create banned hash:ip maxelem 131072 hashsize 65536\n")
		for _, ban := range many4(many) {
			fmt.Fprintf(text, "add banned %s\n", ban.Prefix.Addr())
		}
		insert(b, 3, many, all, many, func() {
			must(b, w.feed("destroy\n"+text.String(), "ipset", "restore"))
		})
	})
	b.Run("bulk/against=nft", func(b *testing.B) {
		peer(b, "nftables", "nft")
		w, addrs := newWire(b, 0), new(strings.Builder)
		for _, ban := range many4(many) {
			fmt.Fprintf(addrs, "%s,", ban.Prefix.Addr())
		}
		insert(b, 3, many, all, many, func() {
			must(b, w.feed("flush ruleset\nadd table ip bench\nadd set ip bench banned { type ipv4_addr; }\n"+
				"add element ip bench banned { "+addrs.String()+" }\n", "nft", "-f", "-"))
		})
	})
}

// ruleset is n rules of one source each.
func ruleset(n int) string {
	text := new(strings.Builder)
	text.WriteString("*filter\n")
	for i := range n {
		fmt.Fprintf(text, "-A INPUT -s 172.16.%d.%d -j DROP\n", i>>8, i&255)
	}
	return text.String() + "COMMIT\n"
}

// insert has ours make n bans in an empty Loader, in turns with theirs, which makes m, and reports
// the time of each ban.
func insert(b *testing.B, turns, n int, ours func(*Loader, []ban.Ban), m int, theirs func()) {
	b.Helper()
	for b.Loop() {
		var our, their []float64
		for range turns {
			our = append(our, made(b, n, ours))
			began := time.Now()
			theirs()
			their = append(their, float64(time.Since(began).Nanoseconds())/float64(m))
		}
		b.ReportMetric(ratio(their, our), "theirs/ours")
		b.ReportMetric(median(our), "ours-ns/ban")
		b.ReportMetric(median(their), "theirs-ns/ban")
	}
	b.ReportMetric(0, "ns/op")
}

func made(b *testing.B, n int, ours func(*Loader, []ban.Ban)) float64 {
	b.Helper()
	s := small(b, "insert")
	s.MaxBans = uint32(2 * n)
	l, err := Open(s)
	must(b, err)
	defer func() {
		l.Close()
		must(b, Remove(s.Pin))
	}()
	bans := many4(n)
	began := time.Now()
	ours(l, bans)
	return float64(time.Since(began).Nanoseconds()) / float64(n)
}
