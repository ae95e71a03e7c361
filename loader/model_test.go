package loader

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"xdpban/internal/ban"
)

// A model decides as the kernel program should, written for clearness alone.
type model struct {
	bans  []ban.Ban
	allow *ban.Set
}

// sender is where the frame comes from; not valid where the program would not know.
func sender(frame []byte) netip.Addr {
	if len(frame) < 14 {
		return netip.Addr{}
	}
	kind, rest := binary.BigEndian.Uint16(frame[12:]), frame[14:]
	for range 2 {
		if kind != typeVLAN && kind != typeQinQ {
			break
		}
		if len(rest) < 4 {
			return netip.Addr{}
		}
		kind, rest = binary.BigEndian.Uint16(rest[2:]), rest[4:]
	}
	switch {
	case kind == typeIPv4 && len(rest) >= 20 && rest[0]>>4 == 4:
		return netip.AddrFrom4([4]byte(rest[12:]))
	case kind == typeIPv6 && len(rest) >= 40 && rest[0]>>4 == 6:
		return netip.AddrFrom16([16]byte(rest[8:])).Unmap()
	}
	return netip.Addr{}
}

// ban finds the live ban that the program acts upon.
func (m *model) ban(addr netip.Addr, now time.Time) (found ban.Ban, ok bool) {
	for _, b := range m.bans {
		if !b.Prefix.Contains(addr) || !b.Live(now) {
			continue
		}
		single := b.Prefix == ban.Of(addr, 64)
		if single {
			return b, true
		}
		if !ok || b.Prefix.Bits() > found.Prefix.Bits() {
			found, ok = b, true
		}
	}
	return found, ok
}

// agrees has the program say what m says of frame, and says it: by which ban, if it is dropped.
func (m *model) agrees(t *rapid.T, l *Loader, frame []byte, now time.Time) (Verdict, ban.Ban) {
	want, by := m.verdict(frame, now)
	got, err := run(l.prog, frame)
	check(t, err)
	if got != want {
		t.Fatalf("frame %x: got %v, want %v by %+v", frame, got, want, by)
	}
	return got, by
}

func (m *model) verdict(frame []byte, now time.Time) (Verdict, ban.Ban) {
	addr := sender(frame)
	if !addr.IsValid() {
		return Pass, ban.Ban{}
	}
	b, ok := m.ban(addr, now)
	if !ok || (!b.Forced && m.allow.Contains(addr)) {
		return Pass, ban.Ban{}
	}
	return Drop, b
}

// Few addresses, near each other, so that packets meet bans.
var (
	someV4 = rapid.Custom(func(t *rapid.T) netip.Addr {
		return netip.AddrFrom4([4]byte{198, 51, rapid.Byte().Draw(t, "c") & 3, rapid.Byte().Draw(t, "d") & 7})
	})
	someV6 = rapid.Custom(func(t *rapid.T) netip.Addr {
		a := [16]byte{0x20, 1, 0xd, 0xb8}
		a[7] = rapid.Byte().Draw(t, "subnet") & 3
		a[15] = rapid.Byte().Draw(t, "host") & 3
		return netip.AddrFrom16(a)
	})
	someAddr = rapid.OneOf(someV4, someV6)
)

func somePrefix(t *rapid.T) netip.Prefix {
	addr := someAddr.Draw(t, "address")
	widths := []int{0, 16, 22, 23, 24, 30, 31, 32}
	if addr.Is6() {
		widths = []int{0, 32, 48, 62, 63, 64, 65, 126, 128}
	}
	return netip.PrefixFrom(addr, rapid.SampledFrom(widths).Draw(t, "bits")).Masked()
}

func someBans(t *rapid.T, now time.Time) []ban.Ban {
	seen := make(map[netip.Prefix]bool)
	var bans []ban.Ban
	for range rapid.IntRange(0, 12).Draw(t, "bans") {
		b := ban.Ban{Prefix: somePrefix(t), Jail: "sshd", Since: now, Quiet: time.Hour}
		if seen[b.Prefix] {
			continue
		}
		seen[b.Prefix] = true
		b.End = now.Add(rapid.SampledFrom([]time.Duration{-time.Hour, time.Minute, 2 * time.Hour}).Draw(t, "end"))
		b.Hand = rapid.Bool().Draw(t, "hand")
		b.Forced = rapid.Bool().Draw(t, "forced")
		if rapid.Bool().Draw(t, "limited") {
			b.Limit = now.Add(30 * time.Minute)
		}
		bans = append(bans, b)
	}
	return bans
}

func someFrame(t *rapid.T) []byte {
	addr := someAddr.Draw(t, "sender")
	kind := uint16(typeIPv4)
	if addr.Is6() {
		kind = typeIPv6
	}
	types := rapid.SliceOfN(rapid.SampledFrom([]uint16{typeVLAN, typeQinQ}), 0, 3).Draw(t, "tags")
	f := frame(addr.String(), append(types, kind)...)
	if rapid.IntRange(0, 3).Draw(t, "cut") == 0 {
		f = f[:rapid.IntRange(14, len(f)).Draw(t, "length")]
	}
	if rapid.IntRange(0, 7).Draw(t, "spoilt") == 0 {
		f[rapid.IntRange(12, len(f)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
	}
	return f
}

// The program and the model agree on random frames and random bans: on the verdict, and
// on the end that the ban has afterwards.
func TestProgramAgreesWithModel(t *testing.T) {
	l := open(t)
	rapid.Check(t, func(t *rapid.T) {
		now := time.Now()
		m := model{bans: someBans(t, now), allow: new(ban.Set)}
		for range rapid.IntRange(0, 3).Draw(t, "allowed") {
			m.allow.Add(somePrefix(t), "test")
		}
		var prefixes []netip.Prefix
		for _, b := range m.bans {
			prefixes = append(prefixes, b.Prefix)
		}
		earlier := new(ban.Set)
		for range rapid.IntRange(0, 2).Draw(t, "allowed earlier") {
			earlier.Add(somePrefix(t), "test")
		}
		defer func() { // also after a failure: the next try must not meet these bans
			_, err := l.Unban(prefixes...)
			check(t, err)
		}()
		check(t, l.Allow(earlier))
		check(t, l.Ban(m.bans...))
		check(t, l.Allow(m.allow))
		for range 8 {
			if got, by := m.agrees(t, l, someFrame(t), now); got == Drop {
				compareEnd(t, l, by, now)
			}
		}
	})
}

// They agree while bans and the allow list change, whatever CPUs know of sources by then, and every
// packet counts for the ban that it met.
func TestProgramAgreesWithModelOverChanges(t *testing.T) {
	l := open(t)
	handOver := func() { agePending(t, l, 2*time.Second) }
	rapid.Check(t, func(t *rapid.T) {
		now := time.Now()
		m := model{allow: new(ban.Set)}
		dropped := make(map[netip.Prefix]uint64)
		enter := func(b ban.Ban) {
			check(t, l.Ban(b))
			switch i := slices.IndexFunc(m.bans, func(other ban.Ban) bool { return other.Prefix == b.Prefix }); {
			case i < 0:
				m.bans = append(m.bans, b)
			case m.bans[i].Live(now):
				m.bans[i] = m.bans[i].Renewed(b)
			default:
				m.bans[i] = b
			}
		}
		unban := func(i int) {
			_, err := l.Unban(m.bans[i].Prefix)
			check(t, err)
			delete(dropped, m.bans[i].Prefix)
			m.bans = slices.Delete(m.bans, i, i+1)
		}
		defer func() {
			for len(m.bans) > 0 {
				unban(0)
			}
		}()
		check(t, l.Allow(m.allow))
		for range 30 {
			switch change := rapid.SampledFrom([]string{"ban", "ban", "unban", "allow", "sift", "hand over"}).Draw(t, "change"); {
			case change == "ban":
				for _, b := range someBans(t, now) {
					enter(b)
				}
			case change == "unban" && len(m.bans) > 0:
				unban(rapid.IntRange(0, len(m.bans)-1).Draw(t, "which"))
			case change == "allow":
				m.allow = new(ban.Set)
				for range rapid.IntRange(0, 2).Draw(t, "allowed") {
					m.allow.Add(somePrefix(t), "test")
				}
				check(t, l.Allow(m.allow))
			case change == "sift":
				check(t, l.sift())
			case change == "hand over":
				handOver()
			}
			for range 8 {
				if got, by := m.agrees(t, l, from(someAddr.Draw(t, "sender").String()), now); got == Drop {
					dropped[by.Prefix]++
				}
			}
		}
		for _, b := range m.bans {
			if r, _, err := l.Find(b.Prefix); b.Live(now) && r.Packets != dropped[b.Prefix] || err != nil {
				t.Fatalf("%+v: got %+v, %v, want %d packets", b, r, err, dropped[b.Prefix])
			}
		}
	})
}

func compareEnd(t *rapid.T, l *Loader, by ban.Ban, now time.Time) {
	r, ok, err := l.Find(by.Prefix)
	check(t, err)
	earliest, latest := by.Refreshed(now).End, by.Refreshed(time.Now()).End // whenever the packet came
	if !ok || r.End.Before(earliest.Add(-time.Second)) || r.End.After(latest.Add(2*time.Second)) {
		t.Fatalf("the end of %s: got %v, want %v to %v", by.Prefix, r.End, earliest, latest)
	}
}

func check(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
}

// FuzzPacket runs any bytes as a frame through the program and the model.
func FuzzPacket(f *testing.F) {
	l := open(f)
	m := model{bans: []ban.Ban{hour("192.0.2.7/32"), hour("2001:db8:0:7::/64"), hour("198.51.100.0/24")}, allow: new(ban.Set)}
	must(f, l.Ban(m.bans...))
	for _, seed := range [][]byte{
		from("192.0.2.7"), from("2001:db8:0:7::1"), from("198.51.100.1"), from("203.0.113.1"),
		frame("192.0.2.7", typeVLAN, typeIPv4), frame("2001:db8:0:7::1", typeQinQ, typeVLAN, typeIPv6),
		from("192.0.2.7")[:33], frame("192.0.2.7", typeARP), from("::ffff:192.0.2.7"),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < 14 || len(frame) > 1500 {
			t.Skip("the kernel runs programs on frames of 14 bytes to a page")
		}
		want, by := m.verdict(frame, time.Now())
		if got := verdict(t, l, frame); got != want {
			t.Errorf("got %v, want %v by %+v", got, want, by)
		}
	})
}
