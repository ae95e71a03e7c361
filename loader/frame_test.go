package loader

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"xdpban/internal/ban"
	"xdpban/internal/lab"
)

// EtherTypes.
const (
	typeIPv4  = 0x0800
	typeIPv6  = 0x86dd
	typeVLAN  = 0x8100
	typeQinQ  = 0x88a8
	typeQinQ1 = 0x9100
	typeARP   = 0x0806
)

// frame is an Ethernet frame with these EtherTypes, tags before the last of them, of a
// packet from source with some payload.
func frame(source string, types ...uint16) []byte {
	f := make([]byte, 12, 128)
	f[0] = 2 // locally administered
	f[6] = 2
	for i, t := range types {
		if i > 0 {
			f = append(f, 0, 7) // the value of the tag before
		}
		f = binary.BigEndian.AppendUint16(f, t)
	}
	return append(f, packet(netip.MustParseAddr(source))...)
}

const payload = 20

func packet(source netip.Addr) []byte {
	if source.Is4() {
		p := make([]byte, 20+payload)
		p[0] = 0x45
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		p[8], p[9] = 64, 17
		copy(p[12:], source.AsSlice())
		copy(p[16:], []byte{192, 0, 2, 254})
		binary.BigEndian.PutUint16(p[10:], checksum(p[:20]))
		return p
	}
	p := make([]byte, 40+payload)
	p[0] = 0x60
	binary.BigEndian.PutUint16(p[4:], payload)
	p[6], p[7] = 17, 64
	copy(p[8:], source.AsSlice())
	p[24], p[39] = 0xfd, 1
	return p
}

// checksum is that of an IPv4 header whose own is zero.
func checksum(header []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(header); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(header[i:]))
	}
	return ^uint16(sum + sum>>16)
}

// from is a plain frame from source.
func from(source string) []byte {
	if netip.MustParseAddr(source).Is4() {
		return frame(source, typeIPv4)
	}
	return frame(source, typeIPv6)
}

// small are settings that tests share.
func small(tb lab.TB, pin string) Settings {
	lab.Require(tb)
	return Settings{Pin: "/sys/fs/bpf/" + pin, IPv6Prefix: 64, MaxBans: 1024, MaxPrefixes: 256, MaxAllowed: 64}
}

// open opens a Loader of its own for a test and takes it out of the kernel after it.
func open(tb testing.TB) *Loader {
	tb.Helper()
	s := small(tb, fmt.Sprintf("test-%d", os.Getpid())) // fuzzing has several processes
	l := reopen(tb, s)
	tb.Cleanup(func() {
		if err := Remove(s.Pin); err != nil {
			tb.Errorf("remove: %v", err)
		}
	})
	return l
}

func reopen(tb testing.TB, s Settings) *Loader {
	tb.Helper()
	l, err := Open(s)
	if err != nil {
		tb.Fatalf("open: %v", err)
	}
	tb.Cleanup(func() { l.Close() })
	return l
}

// hour bans prefix for an hour, which packets prolong.
func hour(prefix string) ban.Ban {
	now := time.Now()
	return ban.Ban{
		Prefix: netip.MustParsePrefix(prefix), Jail: "sshd", Reason: "failed-password",
		Since: now, End: now.Add(time.Hour), Quiet: time.Hour,
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func verdict(tb testing.TB, l *Loader, frame []byte) Verdict {
	tb.Helper()
	v, err := run(l.prog, frame)
	must(tb, err)
	return v
}

func allowed(prefixes ...string) *ban.Set {
	var set ban.Set
	for _, p := range prefixes {
		set.Add(netip.MustParsePrefix(p), "test")
	}
	return &set
}
