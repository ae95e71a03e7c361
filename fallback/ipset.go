package fallback

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The kernel's sets over netlink, as include/uapi/linux/netfilter/ipset/ip_set.h has them.
// The library that reads links and routes knows sets, but neither their netmask and hash
// size nor more than one entry a message.

const (
	hashIP  = "hash:ip"  // addresses, or prefixes of one length: see set.netmask
	hashNet = "hash:net" // prefixes of any length but 0

	// Revisions of the types: the first that know comments, counters and timeouts, Linux 3.13.
	hashIPRevision  = 2
	hashNetRevision = 4

	// setTimeoutMax is the longest timeout of an entry in seconds: IPSET_MAX_TIMEOUT.
	setTimeoutMax = (1<<32-1)>>1/1000 - 1

	// setMessage bounds a message: its length field has 16 bits.
	setMessage = 60000

	setComment = nl.IPSET_MAX_COMMENT_SIZE
	setEntry   = 96 // bytes of an entry in a message at most, without its comment

	listNames = 1 << 1 // IPSET_FLAG_LIST_SETNAME
)

// errSetFull says that a set holds as many entries as it was made for.
var errSetFull = errors.New("the set is full")

// A set is one of the kernel's sets, as it is made.
type set struct {
	name    string
	kind    string // hashIP or hashNet
	v6      bool
	netmask int    // hashIP: the length of all prefixes in it
	room    uint32 // entries that it may hold
	packets bool   // the kernel adds to it by itself, while it handles packets
	tallies bool   // entries count packets and carry a comment
}

// An entry is one of a set.
type entry struct {
	prefix         netip.Prefix
	timeout        uint32 // seconds left; 0: stays
	comment        string
	packets, bytes uint64
}

// asBefore is a count that leaves that of an entry as it is, ULLONG_MAX of the kernel.
const asBefore = math.MaxUint64

func setRequest(cmd int, name string) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(cmd|unix.NFNL_SUBSYS_IPSET<<8, nl.GetIpsetFlags(cmd))
	req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_INET, Version: nl.NFNETLINK_V0})
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_PROTOCOL, nl.Uint8Attr(nl.IPSET_PROTOCOL)))
	if name != "" {
		req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_SETNAME, nl.ZeroTerminated(name)))
	}
	return req
}

func askSets(req *nl.NetlinkRequest) ([][]byte, error) {
	messages, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	var errno syscall.Errno
	if errors.As(err, &errno) && errno >= nl.IPSET_ERR_PRIVATE {
		if int(errno) == nl.IPSET_ERR_TYPE_SPECIFIC { // of the hash types: IPSET_ERR_HASH_FULL
			return nil, errSetFull
		}
		return nil, nl.IPSetError(errno)
	}
	return messages, err
}

// setsSupported asks whether the kernel has sets at all.
func setsSupported() error {
	if _, err := askSets(setRequest(nl.IPSET_CMD_PROTOCOL, "")); err != nil {
		return fmt.Errorf("ask the kernel for sets: %w", err)
	}
	return nil
}

// create makes s, or takes the one of that name that is just like it. made says which. The
// error is os.ErrExist where another set has the name.
func (s set) create() (made bool, err error) {
	for _, exclusive := range []bool{true, false} {
		_, err = askSets(s.createRequest(exclusive))
		if err == nil {
			return exclusive, nil
		}
		if !errors.Is(err, unix.EEXIST) {
			break
		}
	}
	return false, fmt.Errorf("make the set %s: %w", s.name, err)
}

func (s set) createRequest(exclusive bool) *nl.NetlinkRequest {
	req := setRequest(nl.IPSET_CMD_CREATE, s.name)
	if exclusive {
		req.Flags |= unix.NLM_F_EXCL
	}
	family, revision := uint8(unix.AF_INET), uint8(hashIPRevision)
	if s.v6 {
		family = unix.AF_INET6
	}
	if s.kind == hashNet {
		revision = hashNetRevision
	}
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_TYPENAME, nl.ZeroTerminated(s.kind)))
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_REVISION, nl.Uint8Attr(revision)))
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_FAMILY, nl.Uint8Attr(family)))

	var data []byte
	data = putUint32(data, nl.IPSET_ATTR_MAXELEM, s.room)
	data = putUint32(data, nl.IPSET_ATTR_TIMEOUT, 0) // entries may have one
	if s.packets {
		// While it handles a packet the kernel cannot make a set's table larger.
		data = putUint32(data, nl.IPSET_ATTR_HASHSIZE, s.room)
	}
	if s.kind == hashIP {
		data = put(data, nl.IPSET_ATTR_NETMASK, []byte{byte(s.netmask)})
	}
	if s.tallies {
		data = putUint32(data, nl.IPSET_ATTR_CADT_FLAGS, nl.IPSET_FLAG_WITH_COUNTERS|nl.IPSET_FLAG_WITH_COMMENT)
	}
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_DATA|int(nl.NLA_F_NESTED), data))
	return req
}

// replace makes s in place of one of that name that was made otherwise, with its entries.
func (s set) replace() error {
	entries, err := s.list()
	if err != nil {
		return err
	}
	next := s
	next.name = s.name + "~"
	if err := destroySet(next.name); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	if _, err := next.create(); err != nil {
		return err
	}
	defer destroySet(next.name) //nolint:errcheck // after the exchange it is the old one, and empty at the next start at the latest
	if err := next.add(entries); err != nil {
		return err
	}
	req := setRequest(nl.IPSET_CMD_SWAP, s.name)
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_TYPENAME, nl.ZeroTerminated(next.name)))
	if _, err := askSets(req); err != nil {
		return fmt.Errorf("exchange the set %s: %w", s.name, err)
	}
	return nil
}

func destroySet(name string) error {
	if _, err := askSets(setRequest(nl.IPSET_CMD_DESTROY, name)); err != nil {
		return fmt.Errorf("remove the set %s: %w", name, err)
	}
	return nil
}

// setNames lists all sets of this network namespace.
func setNames() ([]string, error) {
	req := setRequest(nl.IPSET_CMD_LIST, "")
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_FLAGS|int(nl.NLA_F_NET_BYTEORDER), binary.BigEndian.AppendUint32(nil, listNames)))
	messages, err := askSets(req)
	if err != nil {
		return nil, fmt.Errorf("list sets: %w", err)
	}
	var names []string
	for _, m := range messages {
		attrs(m[4:], func(kind uint16, value []byte) {
			if kind == nl.IPSET_ATTR_SETNAME {
				names = append(names, unix.ByteSliceToString(value))
			}
		})
	}
	return names, nil
}

// add puts entries into s; those that are there get what they say. After an error some are.
func (s set) add(entries []entry) error {
	err := s.send(nl.IPSET_CMD_ADD, entries)
	if errors.Is(err, errSetFull) {
		return fmt.Errorf("add to %s: %w: it holds %d", s.name, err, s.room)
	}
	if err != nil {
		return fmt.Errorf("add to %s: %w", s.name, err)
	}
	return nil
}

// remove takes prefixes out of s, those that are there.
func (s set) remove(prefixes []netip.Prefix) error {
	entries := make([]entry, len(prefixes))
	for i, prefix := range prefixes {
		entries[i].prefix = prefix
	}
	if err := s.send(nl.IPSET_CMD_DEL, entries); err != nil {
		return fmt.Errorf("remove from %s: %w", s.name, err)
	}
	return nil
}

// send has cmd done to many entries a message.
func (s set) send(cmd int, entries []entry) error {
	body := make([]byte, 0, min(setMessage, len(entries)*(setEntry+setComment)))
	for len(entries) > 0 {
		body = body[:0]
		n := 0
		for n < len(entries) && len(body) < setMessage-2*setComment {
			body = s.put(body, entries[n], uint32(n+1))
			n++
		}
		req := setRequest(cmd, s.name) // without NLM_F_EXCL: to do it twice is no mistake
		req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_LINENO|int(nl.NLA_F_NET_BYTEORDER), make([]byte, 4)))
		req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_ADT|int(nl.NLA_F_NESTED), body))
		if _, err := askSets(req); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return nil
}

// has asks the kernel whether addr is in s now, as the rules do.
func (s set) has(addr netip.Addr) (bool, error) {
	req := setRequest(nl.IPSET_CMD_TEST, s.name)
	data := s.put(nil, entry{prefix: netip.PrefixFrom(addr, addr.BitLen())}, 0)
	req.AddData(nl.NewRtAttr(nl.IPSET_ATTR_DATA|int(nl.NLA_F_NESTED), data[unix.SizeofRtAttr:]))
	_, err := askSets(req)
	if errors.Is(err, nl.IPSetError(nl.IPSET_ERR_EXIST)) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask the set %s: %w", s.name, err)
	}
	return true, nil
}

// list reads the entries of s that have not ended.
func (s set) list() ([]entry, error) {
	messages, err := askSets(setRequest(nl.IPSET_CMD_LIST, s.name))
	if err != nil {
		return nil, fmt.Errorf("list the set %s: %w", s.name, err)
	}
	var entries []entry
	for _, m := range messages {
		attrs(m[4:], func(kind uint16, value []byte) {
			if kind != nl.IPSET_ATTR_ADT {
				return
			}
			attrs(value, func(_ uint16, data []byte) {
				if e, ok := s.decode(data); ok {
					entries = append(entries, e)
				}
			})
		})
	}
	return entries, nil
}

// put appends e to b as the kernel reads it, in one attribute.
func (s set) put(b []byte, e entry, line uint32) []byte {
	kind := uint16(nl.IPSET_ATTR_IPADDR_IPV4)
	if s.v6 {
		kind = nl.IPSET_ATTR_IPADDR_IPV6
	}
	b, whole := open(b, nl.IPSET_ATTR_DATA)
	b, address := open(b, nl.IPSET_ATTR_IP)
	b = put(b, kind|nl.NLA_F_NET_BYTEORDER, e.prefix.Addr().AsSlice())
	shut(b, address)
	if s.kind == hashNet {
		b = put(b, nl.IPSET_ATTR_CIDR, []byte{byte(e.prefix.Bits())})
	}
	b = putUint32(b, nl.IPSET_ATTR_TIMEOUT, e.timeout)
	if s.tallies && e.comment != "" {
		b = put(b, nl.IPSET_ATTR_COMMENT, append([]byte(e.comment), 0))
	}
	if s.tallies {
		b = putUint64(b, nl.IPSET_ATTR_PACKETS, e.packets)
		b = putUint64(b, nl.IPSET_ATTR_BYTES, e.bytes)
	}
	b = putUint32(b, nl.IPSET_ATTR_LINENO, line)
	shut(b, whole)
	return b
}

// decode reads an entry as the kernel writes it. false: it is none of ours.
func (s set) decode(data []byte) (e entry, ok bool) {
	var addr netip.Addr
	bits := s.netmask
	attrs(data, func(kind uint16, value []byte) {
		switch {
		case kind == nl.IPSET_ATTR_IP:
			attrs(value, func(_ uint16, address []byte) { addr, _ = netip.AddrFromSlice(address) })
		case kind == nl.IPSET_ATTR_CIDR && len(value) == 1:
			bits = int(value[0])
		case kind == nl.IPSET_ATTR_TIMEOUT && len(value) == 4:
			e.timeout = binary.BigEndian.Uint32(value)
		case kind == nl.IPSET_ATTR_PACKETS && len(value) == 8:
			e.packets = binary.BigEndian.Uint64(value)
		case kind == nl.IPSET_ATTR_BYTES && len(value) == 8:
			e.bytes = binary.BigEndian.Uint64(value)
		case kind == nl.IPSET_ATTR_COMMENT:
			e.comment = unix.ByteSliceToString(value)
		}
	})
	if s.kind == hashNet && bits == 0 && addr.IsValid() {
		bits = addr.BitLen() // the kernel leaves out the full length
	}
	e.prefix = netip.PrefixFrom(addr, bits)
	return e, e.prefix.IsValid()
}

// open begins an attribute of attributes at the end of b; shut, with what open says, ends it.
func open(b []byte, kind uint16) (longer []byte, at int) {
	return put(b, kind|nl.NLA_F_NESTED, nil), len(b)
}

func shut(b []byte, at int) { binary.NativeEndian.PutUint16(b[at:], uint16(len(b)-at)) }

// put appends a netlink attribute.
func put(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	for len(b)%unix.RTA_ALIGNTO != 0 {
		b = append(b, 0)
	}
	return b
}

func putUint32(b []byte, kind uint16, value uint32) []byte {
	var bytes [4]byte
	binary.BigEndian.PutUint32(bytes[:], value)
	return put(b, kind|nl.NLA_F_NET_BYTEORDER, bytes[:])
}

func putUint64(b []byte, kind uint16, value uint64) []byte {
	var bytes [8]byte
	binary.BigEndian.PutUint64(bytes[:], value)
	return put(b, kind|nl.NLA_F_NET_BYTEORDER, bytes[:])
}

// attrs calls yield with the kind, without flags, and the value of each attribute in b.
func attrs(b []byte, yield func(kind uint16, value []byte)) {
	for len(b) >= unix.SizeofRtAttr {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofRtAttr || length > len(b) {
			return
		}
		yield(binary.NativeEndian.Uint16(b[2:])&nl.NLA_TYPE_MASK, b[unix.SizeofRtAttr:length])
		b = b[min((length+unix.RTA_ALIGNTO-1)&^(unix.RTA_ALIGNTO-1), len(b)):]
	}
}
