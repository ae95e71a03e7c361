package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xdpban/internal/ban"
	"xdpban/internal/lab"
)

func TestVerdictByFrame(t *testing.T) {
	l := open(t)
	must(t, l.Ban(hour("192.0.2.7/32"), hour("2001:db8:0:7::/64")))
	version := from("192.0.2.7")
	version[14] = 0x65
	version6 := from("2001:db8:0:7::1")
	version6[14] = 0x45
	for _, test := range []struct {
		name  string
		frame []byte
		want  Verdict
	}{
		{"IPv4", from("192.0.2.7"), Drop},
		{"IPv4 of another", from("192.0.2.8"), Pass},
		{"IPv6", from("2001:db8:0:7::1"), Drop},
		{"IPv6, a neighbour in the prefix", from("2001:db8:0:7:ffff::"), Drop},
		{"IPv6 of another prefix", from("2001:db8:0:8::1"), Pass},
		{"VLAN, IPv4", frame("192.0.2.7", typeVLAN, typeIPv4), Drop},
		{"VLAN, IPv4 of another", frame("192.0.2.8", typeVLAN, typeIPv4), Pass},
		{"VLAN, IPv6", frame("2001:db8:0:7::1", typeVLAN, typeIPv6), Drop},
		{"QinQ, IPv4", frame("192.0.2.7", typeQinQ, typeVLAN, typeIPv4), Drop},
		{"QinQ, IPv6", frame("2001:db8:0:7::1", typeQinQ, typeVLAN, typeIPv6), Drop},
		{"two VLAN tags", frame("192.0.2.7", typeVLAN, typeVLAN, typeIPv4), Drop},
		{"three tags", frame("192.0.2.7", typeQinQ, typeVLAN, typeVLAN, typeIPv4), Pass},
		{"a tag that the stack does not know", frame("192.0.2.7", typeQinQ1, typeIPv4), Pass},
		{"ARP", frame("192.0.2.7", typeARP), Pass},
		{"IPv4 under the type of IPv6", frame("192.0.2.7", typeIPv6), Pass},
		{"IPv6 under the type of IPv4", frame("2001:db8:0:7::1", typeIPv4), Pass},
		{"wrong version", version, Pass},
		{"wrong version of IPv6", version6, Pass},
		{"IPv4 mapped into IPv6", from("::ffff:192.0.2.7"), Drop},
		{"another IPv4 mapped into IPv6", from("::ffff:192.0.2.8"), Pass},
		{"IPv4 compatible, which is something else", from("::192.0.2.7"), Pass},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := verdict(t, l, test.frame); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
			if got, err := l.Test(test.frame); got != test.want || err != nil {
				t.Errorf("Test: got %v, %v, want %v", got, err, test.want)
			}
		})
	}
}

// A frame that ends before its source address has ended passes, wherever it was cut.
func TestCutFramesPass(t *testing.T) {
	l := open(t)
	must(t, l.Ban(hour("192.0.2.7/32"), hour("2001:db8:0:7::/64")))
	for _, test := range []struct {
		name  string
		frame []byte
		whole int // bytes up to the end of the IP header
	}{
		{"IPv4", from("192.0.2.7"), 14 + 20},
		{"IPv6", from("2001:db8:0:7::1"), 14 + 40},
		{"VLAN", frame("192.0.2.7", typeVLAN, typeIPv4), 14 + 4 + 20},
		{"QinQ", frame("2001:db8:0:7::1", typeQinQ, typeVLAN, typeIPv6), 14 + 8 + 40},
	} {
		for n := 14; n <= len(test.frame); n++ { // the kernel runs nothing on less than 14
			want := Pass
			if n >= test.whole {
				want = Drop
			}
			if got := verdict(t, l, test.frame[:n]); got != want {
				t.Errorf("%s cut to %d bytes: got %v, want %v", test.name, n, got, want)
			}
		}
	}
}

func TestVerdictByBan(t *testing.T) {
	now := time.Now()
	with := func(prefix string, change func(*ban.Ban)) ban.Ban {
		b := hour(prefix)
		change(&b)
		return b
	}
	ended := func(b *ban.Ban) { b.End = now.Add(-time.Second) }
	hand := func(b *ban.Ban) { b.Hand = true }
	forced := func(b *ban.Ban) { b.Forced = true }
	for _, test := range []struct {
		name   string
		bans   []ban.Ban
		allow  *ban.Set
		source string
		want   Verdict
	}{
		{"none", nil, allowed(), "192.0.2.7", Pass},
		{"ended", []ban.Ban{with("192.0.2.7/32", ended)}, allowed(), "192.0.2.7", Pass},
		{"by hand", []ban.Ban{with("192.0.2.7/32", hand)}, allowed(), "192.0.2.7", Drop},
		{"by hand, ended", []ban.Ban{with("192.0.2.7/32", hand), with("192.0.2.7/32", ended)}, allowed(), "192.0.2.7", Drop},
		{"allowed", []ban.Ban{hour("192.0.2.7/32")}, allowed("192.0.2.7/32"), "192.0.2.7", Pass},
		{"allowed by prefix", []ban.Ban{hour("192.0.2.7/32")}, allowed("192.0.2.0/24"), "192.0.2.7", Pass},
		{"another allowed", []ban.Ban{hour("192.0.2.7/32")}, allowed("192.0.2.8/32"), "192.0.2.7", Drop},
		{"allowed IPv6 of a banned prefix", []ban.Ban{hour("2001:db8::/64")}, allowed("2001:db8::1/128"), "2001:db8::1", Pass},
		{"its neighbour", []ban.Ban{hour("2001:db8::/64")}, allowed("2001:db8::1/128"), "2001:db8::2", Drop},
		{"all of IPv6 allowed is not IPv4", []ban.Ban{hour("192.0.2.7/32")}, allowed("::/0"), "192.0.2.7", Drop},
		{"forced", []ban.Ban{with("192.0.2.7/32", forced)}, allowed("192.0.2.7/32"), "192.0.2.7", Drop},
		{"prefix", []ban.Ban{hour("198.51.100.0/24")}, allowed(), "198.51.100.9", Drop},
		{"beside the prefix", []ban.Ban{hour("198.51.100.0/24")}, allowed(), "198.51.101.9", Pass},
		{"everything", []ban.Ban{hour("0.0.0.0/0")}, allowed(), "203.0.113.1", Drop},
		{"all of IPv4 is not IPv6", []ban.Ban{hour("0.0.0.0/0")}, allowed(), "2001:db8::1", Pass},
		{"all of IPv6 is not IPv4", []ban.Ban{hour("::/0")}, allowed(), "203.0.113.1", Pass},
		{"all of IPv6", []ban.Ban{hour("::/0")}, allowed(), "2001:db8::1", Drop},
		{"all of IPv6 is not IPv4 in disguise", []ban.Ban{hour("::/0")}, allowed(), "::ffff:203.0.113.1", Pass},
		{"single IPv6 address", []ban.Ban{hour("2001:db8::1/128")}, allowed(), "2001:db8::1", Drop},
		{"its neighbour passes", []ban.Ban{hour("2001:db8::1/128")}, allowed(), "2001:db8::2", Pass},
		{"prefix, allowed inside", []ban.Ban{hour("198.51.100.0/24")}, allowed("198.51.100.9/32"), "198.51.100.9", Pass},
		{"ended in a live prefix", []ban.Ban{hour("198.51.100.0/24"), with("198.51.100.9/32", ended)}, allowed(), "198.51.100.9", Drop},
		{"ended prefix in a live one", []ban.Ban{hour("198.51.0.0/16"), with("198.51.100.0/24", ended), with("198.51.100.0/25", ended)}, allowed(), "198.51.100.9", Drop},
		{"ended prefixes", []ban.Ban{with("198.51.0.0/16", ended), with("0.0.0.0/0", ended)}, allowed(), "198.51.100.9", Pass},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := open(t)
			must(t, l.Ban(test.bans...))
			must(t, l.Allow(test.allow))
			if got := verdict(t, l, from(test.source)); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// The longest chain of prefixes there can be: all have ended but the shortest.
func TestEndedPrefixesHideNoLiveOne(t *testing.T) {
	l := open(t)
	source := netip.MustParseAddr("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff")
	bans := []ban.Ban{hour("::/0")}
	for bits := 1; bits <= 128; bits++ {
		b := hour("::/0")
		b.Prefix = netip.PrefixFrom(source, bits).Masked()
		b.End = time.Now().Add(-time.Second)
		bans = append(bans, b)
	}
	must(t, l.Ban(bans...))
	if got := verdict(t, l, from(source.String())); got != Drop {
		t.Errorf("got %v, want %v", got, Drop)
	}
	n, err := l.Unban(netip.MustParsePrefix("::/0"))
	if n != 1 || err != nil {
		t.Fatalf("unban: %d, %v", n, err)
	}
	if got := verdict(t, l, from(source.String())); got != Pass {
		t.Errorf("after unban: got %v, want %v", got, Pass)
	}
}

func TestPacketMovesTheEnd(t *testing.T) {
	const second = time.Second
	for _, test := range []struct {
		name              string
		end, limit, quiet time.Duration // from now
		want              time.Duration // the end after a packet
		refreshes         uint32
	}{
		{"to quiet, and the second in which none moves it", 10 * second, 0, 60 * second, 61 * second, 1},
		{"never back", 90 * second, 0, 60 * second, 90 * second, 0},
		{"to the limit", 10 * second, 30 * second, 60 * second, 30 * second, 1},
		{"not past a limit that it has reached", 30 * second, 30 * second, 60 * second, 30 * second, 0},
		{"not at all without quiet", 10 * second, 0, 0, 10 * second, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := open(t)
			now := time.Now()
			b := hour("192.0.2.7/32")
			b.End, b.Quiet = now.Add(test.end), test.quiet
			if test.limit != 0 {
				b.Limit = now.Add(test.limit)
			}
			must(t, l.Ban(b))
			for range 5 {
				verdict(t, l, from("192.0.2.7"))
			}
			r, ok, err := l.Find(b.Prefix)
			if !ok || err != nil {
				t.Fatalf("find: %v, %v", ok, err)
			}
			near(t, "end", r.End, now.Add(test.want))
			if r.Refreshes != test.refreshes || r.Packets != 5 || r.Bytes != 5*(14+20+payload) {
				t.Errorf("got %+v, want %d refreshes, 5 packets", r.Tally, test.refreshes)
			}
			near(t, "seen", r.Seen, now)
		})
	}
}

// near allows for a tick of the kernel's slowest clock and for a busy machine.
func near(tb testing.TB, what string, got, want time.Time) {
	tb.Helper()
	if d := got.Sub(want).Abs(); d > 500*time.Millisecond*lab.Slowness {
		tb.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// The shared value stays as it is within a second, however many packets come: on one CPU, as
// another's first packet is counted there at once.
func TestEndMovesOnceASecond(t *testing.T) {
	onOneCPU(t)
	l := open(t)
	b := hour("192.0.2.7/32")
	b.Quiet = 2 * time.Hour
	must(t, l.Ban(b))
	verdict(t, l, from("192.0.2.7"))
	place := placeIn(inBans, b.Prefix)
	first, _, err := l.lookup(place)
	must(t, err)
	for range 1000 {
		verdict(t, l, from("192.0.2.7"))
	}
	again, _, err := l.lookup(place)
	must(t, err)
	now, err := l.clock.now()
	must(t, err)
	if now.ns-first.Seen < uint64(time.Second) && again != first {
		t.Errorf("within a second: got %+v, want %+v", again, first)
	}
	age(t, l, place, time.Second)
	verdict(t, l, from("192.0.2.7"))
	next, _, err := l.lookup(place)
	must(t, err)
	if next.Refreshed != 2 || next.End <= first.End-uint64(time.Second) {
		t.Errorf("a second later: got %+v after %+v", next, first)
	}
}

// onOneCPU keeps the test on the CPU that it runs on.
func onOneCPU(tb testing.TB) {
	tb.Helper()
	runtime.LockOSThread()
	var before, one unix.CPUSet
	must(tb, unix.SchedGetaffinity(0, &before))
	cpu := 0
	for !before.IsSet(cpu) {
		cpu++
	}
	one.Set(cpu)
	must(tb, unix.SchedSetaffinity(0, &one))
	tb.Cleanup(func() {
		must(tb, unix.SchedSetaffinity(0, &before))
		runtime.UnlockOSThread()
	})
}

// age makes the ban at p as it would be d later.
func age(tb testing.TB, l *Loader, p place, d time.Duration) {
	tb.Helper()
	v, ok, err := l.lookup(p)
	if !ok || err != nil {
		tb.Fatalf("look up %v: %v, %v", p, ok, err)
	}
	v.End -= uint64(d)
	v.Seen -= uint64(d)
	must(tb, l.maps.of(p.table).Put(p.Addr, &v))
	must(tb, l.lookAgain())
}

// Test is a look: it neither counts nor prolongs.
func TestTestLeavesNoTrace(t *testing.T) {
	l := open(t)
	b := hour("192.0.2.7/32")
	must(t, l.Ban(b, hour("192.0.2.8/32")))
	must(t, l.Allow(allowed("192.0.2.8/32")))
	before, _, err := l.lookup(placeIn(inBans, b.Prefix))
	must(t, err)
	for _, source := range []string{"192.0.2.7", "192.0.2.8"} {
		_, err := l.Test(from(source))
		must(t, err)
	}
	after, _, err := l.lookup(placeIn(inBans, b.Prefix))
	must(t, err)
	if before != after {
		t.Errorf("the ban changed from %+v to %+v", before, after)
	}
	if totals, err := l.Totals(); totals != (ban.Totals{}) || err != nil {
		t.Errorf("totals: %+v, %v", totals, err)
	}
	if used := slots(t, l); len(used) != 0 {
		t.Errorf("a CPU knows %+v", used)
	}
}

// Counts are exact, also for bans that share a slot of the per-CPU counts.
func TestCountsAreExact(t *testing.T) {
	l := open(t)
	onOneCPU(t)
	want := make(map[string]uint64)
	sources := sharing()
	for _, source := range sources {
		b := hour("192.0.2.1/32")
		b.Prefix = ban.Of(netip.MustParseAddr(source), 64)
		must(t, l.Ban(b))
	}
	for round := range 7 {
		for i := range sources {
			source := sources[(i+round)%len(sources)] // each has its turn at the slot
			for range (round+i)%4 + 1 {
				verdict(t, l, from(source))
				want[source]++
			}
		}
		if round == 3 {
			agePending(t, l, 2*time.Second)
		}
	}
	if used := slots(t, l); len(used) != 1 {
		t.Errorf("they share no slot: %+v", used)
	}
	var all ban.Count
	for _, source := range sources {
		r, ok, err := l.Find(ban.Single(netip.MustParseAddr(source)))
		if !ok || err != nil {
			t.Fatalf("find %s: %v, %v", source, ok, err)
		}
		if r.Packets != want[source] || r.Bytes != want[source]*uint64(len(from(source))) {
			t.Errorf("%s: got %+v, want %d packets", source, r.Tally, want[source])
		}
		all = ban.Count{Packets: all.Packets + r.Packets, Bytes: all.Bytes + r.Bytes}
	}
	if totals, err := l.Totals(); totals != (ban.Totals{Dropped: all}) || err != nil {
		t.Errorf("totals: got %+v, %v, want %+v", totals, err, all)
	}
}

// What a CPU still holds for a ban that is gone goes to no other ban of the same source.
func TestCountsOfAGoneBanAreForgotten(t *testing.T) {
	l := open(t)
	onOneCPU(t)
	other := sharing()[1]
	must(t, l.Ban(hour("192.0.2.1/32")))
	for range 3 {
		verdict(t, l, from("192.0.2.1"))
	}
	_, err := l.Unban(netip.MustParsePrefix("192.0.2.1/32"))
	must(t, err)
	must(t, l.Ban(hour("192.0.2.1/32"), hour(other+"/32")))
	agePending(t, l, 2*time.Second)
	verdict(t, l, from(other))
	r, ok, err := l.Find(netip.MustParsePrefix("192.0.2.1/32"))
	if !ok || err != nil || r.Tally != (ban.Tally{}) {
		t.Errorf("got %+v, %v, %v", r.Tally, ok, err)
	}
}

// What a CPU still holds for a ban goes to that one, though another has come before it or it has ended.
func TestCountsFindTheirBan(t *testing.T) {
	l := open(t)
	source, other := "192.0.2.1", sharing()[1]
	net, byHand := hour("192.0.2.0/30"), hour(source+"/32")
	byHand.Hand = true
	for _, test := range []struct {
		name   string
		ban    ban.Ban
		change func() error
	}{
		{"a prefix, a narrower ban comes", net, func() error { return l.Ban(hour(source + "/32")) }},
		{"by hand, it has ended", byHand, func() error {
			p := l.placeOf(&byHand)
			v, _, err := l.lookup(p)
			v.End = 1
			return errors.Join(err, l.putOne(p, &v))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			onOneCPU(t)
			agePending(t, l, 2*time.Second) // the slot may be had
			must(t, l.Ban(test.ban, hour(other+"/32")))
			for range 5 {
				verdict(t, l, from(source))
			}
			must(t, test.change())
			agePending(t, l, 2*time.Second)
			verdict(t, l, from(other))
			if v, _, err := l.lookup(l.placeOf(&test.ban)); v.Packets != 5 || err != nil {
				t.Errorf("got %d packets, %v, want 5", v.Packets, err)
			}
			_, err := l.Unban(test.ban.Prefix, netip.MustParsePrefix(source+"/32"), netip.MustParsePrefix(other+"/32"))
			must(t, err)
		})
	}
}

// sharing are sources of one slot: 192.0.2.1, another of IPv4 and one of IPv6.
func sharing() []string {
	slot := func(addr netip.Addr) uint64 {
		a := addr.As16()
		sum := binary.BigEndian.Uint64(a[:]) ^ binary.BigEndian.Uint64(a[8:])
		return sum * 0x9e3779b97f4a7c15 >> (64 - 11)
	}
	first := netip.MustParseAddr("192.0.2.1")
	second, third := first.Next(), netip.MustParseAddr("2001:db8::")
	for slot(second) != slot(first) {
		second = second.Next()
	}
	for slot(third) != slot(first) {
		a := third.As16()
		binary.BigEndian.PutUint16(a[6:], binary.BigEndian.Uint16(a[6:])+1)
		third = netip.AddrFrom16(a)
	}
	return []string{first.String(), second.String(), third.String()}
}

// slots are those in use, of all CPUs.
func slots(tb testing.TB, l *Loader) (used []xdpbanSlot) {
	tb.Helper()
	for slot := range l.maps.Pending.MaxEntries() {
		var cpus []xdpbanSlot
		must(tb, l.maps.Pending.Lookup(slot, &cpus))
		for _, s := range cpus {
			if s.Id != 0 {
				used = append(used, s)
			}
		}
	}
	return used
}

// A CPU goes on to drop what comes from a source without a look. Who may come in does so at once,
// and nobody else with him.
func TestWhoIsLetInComesInAtOnce(t *testing.T) {
	forced := hour("192.0.2.7/32")
	forced.Forced = true
	for _, test := range []struct {
		name   string
		ban    ban.Ban
		before []string // sources whose packets are dropped
		change func(l *Loader) error
		pass   []string // those that pass then
	}{
		{"unbanned", hour("192.0.2.7/32"), []string{"192.0.2.7"}, func(l *Loader) error {
			_, err := l.Unban(netip.MustParsePrefix("192.0.2.7/32"))
			return err
		}, []string{"192.0.2.7"}},
		{"another unbanned", hour("192.0.2.7/32"), []string{"192.0.2.7"}, func(l *Loader) error {
			err := l.Ban(hour("192.0.2.8/32"))
			if err == nil {
				_, err = l.Unban(netip.MustParsePrefix("192.0.2.8/32"))
			}
			return err
		}, nil},
		{"a prefix unbanned", hour("198.51.100.0/24"), []string{"198.51.100.1", "198.51.100.2"}, func(l *Loader) error {
			_, err := l.Unban(netip.MustParsePrefix("198.51.100.0/24"))
			return err
		}, []string{"198.51.100.1", "198.51.100.2"}},
		{"allowed", hour("192.0.2.7/32"), []string{"192.0.2.7"}, func(l *Loader) error {
			return l.Allow(allowed("192.0.2.0/24"))
		}, []string{"192.0.2.7"}},
		{"allowed, and the ban is forced", forced, []string{"192.0.2.7"}, func(l *Loader) error {
			return l.Allow(allowed("192.0.2.7/32"))
		}, nil},
		{"one allowed of a /64", hour("2001:db8::/64"), []string{"2001:db8::1", "2001:db8::2"}, func(l *Loader) error {
			return l.Allow(allowed("2001:db8::1/128"))
		}, []string{"2001:db8::1"}},
		{"what was there before the renewal", hour("192.0.2.7/32"), []string{"192.0.2.7"}, func(l *Loader) error {
			over := hour("192.0.2.7/32")
			over.End, over.Quiet = time.Now().Add(-time.Second), 0
			return l.Restore(over)
		}, []string{"192.0.2.7"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			onOneCPU(t)
			l := open(t)
			must(t, l.Ban(test.ban))
			ask := func(source string, want Verdict) {
				t.Helper()
				if got := verdict(t, l, from(source)); got != want {
					t.Errorf("%s: got %v, want %v", source, got, want)
				}
			}
			for range 3 {
				for _, source := range test.before {
					ask(source, Drop)
				}
			}
			must(t, test.change(l))
			for range 3 {
				for _, source := range test.pass {
					ask(source, Pass)
				}
				for _, source := range test.before {
					if !slices.Contains(test.pass, source) {
						ask(source, Drop)
					}
				}
			}
		})
	}
}

// What a CPU knows of a prefix is not true of sources in it that have a ban of their own.
func TestNarrowerBansComeFirst(t *testing.T) {
	onOneCPU(t)
	l := open(t)
	must(t, l.Allow(allowed("198.51.100.9/32", "2001:db8::9/128")))
	for _, test := range []struct{ wide, narrow, other, source string }{
		{"198.51.100.0/24", "198.51.100.9/32", "198.51.100.8", "198.51.100.9"},
		{"2001:db8::/48", "2001:db8::9/128", "2001:db8::8", "2001:db8::9"},
	} {
		wide := hour(test.wide)
		wide.Forced = true
		must(t, l.Ban(wide))
		for range 3 {
			for _, source := range []string{test.other, test.source} {
				if got := verdict(t, l, from(source)); got != Drop {
					t.Errorf("%s: got %v, want %v", source, got, Drop)
				}
			}
		}
		must(t, l.Ban(hour(test.narrow)))
		for range 3 {
			for source, want := range map[string]Verdict{test.other: Drop, test.source: Pass} {
				if got := verdict(t, l, from(source)); got != want {
					t.Errorf("%s: got %v, want %v", source, got, want)
				}
			}
		}
	}
}

// What a CPU knows of a source it knows by the ipv6_prefix of then.
func TestNextLoaderLooksAgain(t *testing.T) {
	onOneCPU(t)
	l := open(t)
	must(t, l.Ban(hour("2001:db8::/64")))
	verdict(t, l, from("2001:db8::1"))
	s := l.settings
	s.IPv6Prefix = 48
	must(t, l.Close())
	l = reopen(t, s)
	for source, want := range map[string]Verdict{"2001:db8::1": Drop, "2001:db8:0:1::1": Pass} {
		if got := verdict(t, l, from(source)); got != want {
			t.Errorf("%s: got %v, want %v", source, got, want)
		}
	}
}

// Nor is it true when the Loader before died after it had deleted the ban.
func TestNextLoaderLetsInWhoWasUnbanned(t *testing.T) {
	onOneCPU(t)
	l := open(t)
	b := hour("192.0.2.7/32")
	must(t, l.Ban(b))
	verdict(t, l, from("192.0.2.7"))
	_, err := l.deleteFrom(inBans, []place{l.placeOf(&b)})
	must(t, err)
	must(t, l.Close())
	l = reopen(t, l.settings)
	if got := verdict(t, l, from("192.0.2.7")); got != Pass {
		t.Errorf("got %v, want %v", got, Pass)
	}
}

// A CPU looks again as soon as a packet may move the end, and when the ban is over.
func TestCPUsLookAgainInTime(t *testing.T) {
	onOneCPU(t)
	l := open(t)
	for _, test := range []struct {
		source       string
		lasts, quiet time.Duration
	}{
		{"192.0.2.7", time.Hour, time.Hour}, {"192.0.2.8", 500 * time.Millisecond, 0},
	} {
		b := hour(test.source + "/32")
		b.Quiet = test.quiet
		for { // on a busy host it may be over before the packet comes
			b.End = time.Now().Add(test.lasts)
			must(t, l.Ban(b))
			if verdict(t, l, from(test.source)) == Drop {
				break
			}
		}
		v, _, err := l.lookup(l.placeOf(&b))
		must(t, err)
		i := slices.IndexFunc(slots(t, l), func(s xdpbanSlot) bool { return s.Id == v.Id })
		if i < 0 {
			t.Fatalf("no CPU counts for %s", test.source)
		}
		if s := slots(t, l)[i]; s.Until != min(v.Seen+uint64(time.Second), v.End) || s.Generation != l.contents.Generation {
			t.Errorf("the slot of %s: got %+v for %+v", test.source, s, v)
		}
	}
}

// The end is left alone while a CPU knows the source; the first packet from then on moves it, and one
// that comes after the end passes.
func TestKnownSourcesGoOnToMoveTheEnd(t *testing.T) {
	onOneCPU(t)
	l := open(t)
	b := hour("192.0.2.7/32")
	p := l.placeOf(&b)
	must(t, l.Ban(b))
	ask := func(want Verdict) (v xdpbanBan) {
		t.Helper()
		if got := verdict(t, l, from("192.0.2.7")); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
		v, _, err := l.lookup(p)
		must(t, err)
		return v
	}
	later := func(v xdpbanBan, d time.Duration) xdpbanBan {
		v.End -= uint64(d)
		v.Seen -= uint64(d)
		must(t, l.putOne(p, &v))
		return v
	}
	first := ask(Drop)
	known := later(first, 2*time.Second)
	if got := ask(Drop); got != known {
		t.Errorf("while it is known: got %+v, want %+v", got, known)
	}
	agePending(t, l, 2*time.Second)
	moved := ask(Drop)
	if moved.End < first.End || moved.Seen < first.Seen || moved.Refreshed != first.Refreshed+1 || moved.Packets != 3 {
		t.Errorf("then: got %+v, %+v before", moved, known)
	}
	over := moved
	over.End = 1 // the host may have booted just now
	must(t, l.putOne(p, &over))
	agePending(t, l, 2*time.Second)
	if got := ask(Pass); got != over {
		t.Errorf("after the end: got %+v, want %+v", got, over)
	}
}

// agePending makes the counts of all CPUs as they would be d later.
func agePending(tb testing.TB, l *Loader, d time.Duration) {
	tb.Helper()
	for slot := range l.maps.Pending.MaxEntries() {
		var cpus []xdpbanSlot
		must(tb, l.maps.Pending.Lookup(slot, &cpus))
		if !slices.ContainsFunc(cpus, func(s xdpbanSlot) bool { return s.Id != 0 }) {
			continue
		}
		for i := range cpus {
			cpus[i].Until -= min(cpus[i].Until, uint64(d))
		}
		must(tb, l.maps.Pending.Put(slot, cpus))
	}
}

func TestTotalsTellDroppedFromAllowed(t *testing.T) {
	l := open(t)
	must(t, l.Ban(hour("192.0.2.7/32"), hour("192.0.2.8/32")))
	must(t, l.Allow(allowed("192.0.2.8/32")))
	for _, source := range []string{"192.0.2.7", "192.0.2.7", "192.0.2.8", "192.0.2.9"} {
		verdict(t, l, frame(source, typeVLAN, typeIPv4))
	}
	const bytes = 14 + 4 + 20 + payload
	want := ban.Totals{Dropped: ban.Count{Packets: 2, Bytes: 2 * bytes}, Allowed: ban.Count{Packets: 1, Bytes: bytes}}
	if got, err := l.Totals(); got != want || err != nil {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func ExampleVerdict() {
	fmt.Println(Drop, Pass, Verdict(0))
	// Output: DROP PASS XDP action 0
}
