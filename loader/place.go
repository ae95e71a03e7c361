package loader

import (
	"math"
	"net/netip"
	"time"

	"xdpban/internal/ban"
)

// A table is one of the maps that hold bans.
type table uint8

const (
	inBans table = iota // single sources that logs led to; the kernel evicts the least recent
	inHeld              // single sources by hand
	inNets              // prefixes
)

var tables = [...]table{inBans, inHeld, inNets}

// A place is where a ban is: its source, which has one ban at most, is the key in its table.
type place struct {
	ban.Source
	table table
}

// Of what the tries have before the address in their keys.
const (
	familyBits = 32
	familyIPv4 = 4
	familyIPv6 = 6
)

// normal is prefix with IPv4 in no disguise and without host bits.
func normal(prefix netip.Prefix) netip.Prefix {
	if prefix.Addr().Is4In6() && prefix.Bits() >= 96 {
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-96)
	}
	return prefix.Masked()
}

func placeIn(t table, prefix netip.Prefix) place { return place{ban.SourceOf(prefix), t} }

// placeOf is where the ban b belongs, and is.
func (l *Loader) placeOf(b *ban.Ban) place { return l.placeFor(b.Prefix, b.Hand) }

func (l *Loader) placeFor(prefix netip.Prefix, hand bool) place {
	switch {
	case !l.single(prefix):
		return placeIn(inNets, prefix)
	case hand:
		return placeIn(inHeld, prefix)
	}
	return placeIn(inBans, prefix)
}

// single reports whether prefix is what l counts as one source.
func (l *Loader) single(prefix netip.Prefix) bool {
	if prefix.Addr().Is4() {
		return prefix.Bits() == 32
	}
	return prefix.Bits() == l.settings.IPv6Prefix
}

// trieKey is prefix as nets and allow have it.
func trieKey(prefix netip.Prefix) xdpbanPrefix {
	key := xdpbanPrefix{Bits: uint32(familyBits + prefix.Bits())}
	if prefix.Addr().Is4() {
		key.Family[0] = familyIPv4
		addr := prefix.Addr().As4()
		copy(key.Addr[:], addr[:])
		return key
	}
	key.Family[0] = familyIPv6
	key.Addr = prefix.Addr().As16()
	return key
}

func prefixOf(key xdpbanPrefix) netip.Prefix {
	bits := int(key.Bits) - familyBits
	if key.Family[0] == familyIPv4 {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte(key.Addr[:4])), bits)
	}
	return netip.PrefixFrom(netip.AddrFrom16(key.Addr), bits)
}

// noLimit is xdpbanBan.Limit of a ban without one.
const noLimit = math.MaxUint64

const (
	flagForced = uint8(xdpbanBanFlagBAN_FORCED)
	flagHand   = uint8(xdpbanBanFlagBAN_HAND)
	flagClear  = uint8(xdpbanBanFlagBAN_CLEAR)
)

// encode is b as the kernel has it, without the tally. Quiet is rounded up to seconds.
func encode(b ban.Ban, at moment, id, label uint32) xdpbanBan {
	v := xdpbanBan{
		End:   at.at(b.End),
		Limit: noLimit,
		Since: seconds(at, b.Since),
		Quiet: uint32(min((b.Quiet+time.Second-1)/time.Second, math.MaxUint32)),
		Id:    id,
		Label: label,
		Bits:  uint8(b.Prefix.Bits()),
	}
	if !b.Limit.IsZero() {
		v.Limit = at.at(b.Limit)
	}
	if b.Forced {
		v.Flags |= flagForced
	}
	if b.Hand {
		v.Flags |= flagHand
	}
	return v
}

// seconds is t in seconds on the kernel's clock; before 0 the kernel had not booted.
func seconds(at moment, t time.Time) int32 {
	booted := at.wall.Add(-time.Duration(at.ns))
	s := t.Sub(booted).Round(time.Second) / time.Second
	return int32(max(math.MinInt32, min(s, math.MaxInt32)))
}

// decode is the ban v of prefix as people read it, without what is pending.
func decode(prefix netip.Prefix, v *xdpbanBan, at moment, why label) ban.Record {
	r := ban.Record{
		Ban: ban.Ban{
			Prefix: prefix,
			Jail:   why.jail,
			Reason: why.reason,
			Since:  at.time(uint64(int64(v.Since) * int64(time.Second))),
			End:    at.time(v.End),
			Quiet:  time.Duration(v.Quiet) * time.Second,
			Hand:   v.Flags&flagHand != 0,
			Forced: v.Flags&flagForced != 0,
		},
		Tally: ban.Tally{Packets: v.Packets, Bytes: v.Bytes, Refreshes: v.Refreshed},
	}
	if v.Limit != noLimit {
		r.Limit = at.time(v.Limit)
	}
	if v.Seen != 0 {
		r.Seen = at.time(v.Seen)
	}
	return r
}
