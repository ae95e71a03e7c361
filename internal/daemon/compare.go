package daemon

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"xdpban/internal/ban"
	"xdpban/internal/control"
)

// The places of the account's bans.
const (
	inXDP = iota // as the loader has it
	inChain
)

// Compare looks at every place where bans are: by XDP in many turns, in the chain in one
// and then in many.
func (l *ladder) Compare(turn turn) (c comparison, err error) {
	if l.xdp != nil {
		found, err := l.xdp.Compare(turn)
		if err != nil {
			return c, err
		}
		c = comparison{evicted: found.Evicted, repaired: found.Repaired, unknown: found.Unknown,
			unknowns: found.Unknowns, returned: found.Returned, returns: found.Returns}
	}
	var failed uint64
	if err := turn(func() error { failed = l.chainFails; return l.compareChain(&c) }); err != nil {
		return c, err
	}
	for page := 0; page < l.account.Pages(); {
		if err := turn(func() error { return l.refillChain(&c, &page) }); err != nil {
			return c, err
		}
	}
	return c, turn(func() error {
		c.wanted, c.enforced = l.account.Len(), l.account.Len()
		if l.chainFails == failed { // else there is more to put back
			l.chainErr = nil
		}
		return nil
	})
}

// compareChain looks what the chain holds up in the account.
func (l *ladder) compareChain(c *comparison) error {
	if l.chain == nil {
		return nil
	}
	if l.xdp == nil {
		l.account.Begin()
	}
	records, err := l.chain.Bans()
	if err != nil {
		return err
	}
	for _, r := range records {
		r.Seen = time.Time{} // the kernel logs by itself who is back
		if _, known := l.account.Note(r, inChain); known || slices.Contains(c.unknown, r.Prefix) {
			continue
		}
		if c.unknowns++; len(c.unknown) < control.Named {
			c.unknown = append(c.unknown, r.Prefix)
		}
	}
	return nil
}

// refillChain puts back what the chain has lost of the bans on some pages, from page on.
func (l *ladder) refillChain(c *comparison, page *int) error {
	if l.chain == nil {
		*page = l.account.Pages()
		return nil
	}
	var lost []ban.Ban
	for visited := 0; *page < l.account.Pages() && visited < l.Batch(); *page++ {
		visited += 1 + l.account.PageLen(*page)
		for _, b := range l.account.Unseen(*page, inChain) {
			if !l.chain.Absent(b.Prefix.Addr()) && time.Until(b.End) > ending {
				lost = append(lost, b)
			}
		}
	}
	lost = l.holdable(lost)
	if len(lost) > 0 {
		if err := l.chain.Ban(lost...); err != nil {
			return err
		}
	}
	c.repaired += len(lost)
	return nil
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
