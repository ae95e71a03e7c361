package daemon

import (
	"encoding/binary"
	"net/netip"
	"time"

	"xdpban/internal/ban"
)

// Compare looks at every place where bans are.
func (l *ladder) Compare(wanted map[netip.Prefix]ban.Ban, now time.Time) (comparison, error) {
	var c comparison
	latest := make(map[netip.Prefix]ban.Record)
	lists := make([]map[netip.Prefix]ban.Record, 0, 2)
	for _, k := range l.keepers() {
		records, err := k.Bans()
		if err != nil {
			return c, err
		}
		there := make(map[netip.Prefix]ban.Record, len(records))
		for _, r := range records {
			there[r.Prefix] = r
			if k != keeper(l.chain) && !r.Seen.IsZero() {
				c.seen = append(c.seen, r)
			}
			if before, twice := latest[r.Prefix]; !twice || r.End.After(before.End) {
				latest[r.Prefix] = r
			}
		}
		lists = append(lists, there)
	}
	for prefix, r := range latest {
		b, known := wanted[prefix]
		switch {
		case !known:
			c.unknown = append(c.unknown, prefix)
		case r.End.After(b.End):
			c.latest = append(c.latest, r)
		}
	}
	absent := make(map[netip.Prefix]bool)
	for i, k := range l.keepers() {
		back := l.missing(k, wanted, lists[i], latest, now)
		if len(back) > 0 {
			if err := k.Ban(back...); err != nil {
				return c, err
			}
		}
		if k == keeper(l.chain) {
			l.chainErr = nil
		} else {
			c.evicted += len(back)
		}
		for _, b := range back {
			absent[b.Prefix] = true
		}
	}
	c.repaired = len(absent)
	c.enforced = len(wanted)
	return c, nil
}

// missing are bans that are wanted, should not have ended, and are not there in k.
func (l *ladder) missing(k keeper, wanted map[netip.Prefix]ban.Ban, there, latest map[netip.Prefix]ban.Record, now time.Time) []ban.Ban {
	var back []ban.Ban
	for prefix, b := range wanted {
		_, ok := there[prefix]
		if ok || k == keeper(l.chain) && l.chain.Absent(prefix.Addr()) {
			continue
		}
		if r, elsewhere := latest[prefix]; elsewhere && r.End.After(b.End) {
			b.End = r.End
		}
		if b.End.Sub(now) > ending {
			back = append(back, b)
		}
	}
	return back
}

// ending is how near its end a ban may be gone already: clocks are read one after the other.
const ending = 2 * time.Second

// frameFrom is a packet from addr: an Ethernet frame with the header of an IP packet in it
// that holds nothing else.
func frameFrom(addr netip.Addr) []byte {
	const ethernet, v4, v6 = 14, 20, 40
	addr = addr.Unmap()
	if addr.Is4() {
		frame := make([]byte, ethernet+v4)
		binary.BigEndian.PutUint16(frame[12:], 0x0800)
		ip := frame[ethernet:]
		ip[0] = 4<<4 | v4/4
		binary.BigEndian.PutUint16(ip[2:], v4)
		ip[8], ip[9] = 64, 17 // hops, UDP
		copy(ip[12:], addr.AsSlice())
		return frame
	}
	frame := make([]byte, ethernet+v6)
	binary.BigEndian.PutUint16(frame[12:], 0x86dd)
	ip := frame[ethernet:]
	ip[0] = 6 << 4
	ip[6], ip[7] = 59, 64 // no next header, hops
	copy(ip[8:], addr.AsSlice())
	return frame
}
