package loader

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// A sieve has the kernel program let most packets pass without a look into the hashes: of every
// source in bans and held a bit is set, before it goes in, and whose bit is not set has no ban there.
// Bits of bans that are over stay set, which costs their sources and some others that look, until
// there are many.
type sieve struct {
	m      *ebpf.Map
	words  []uint64 // of m itself; where the kernel shares no maps, what m holds
	shared []byte   // the same, as it is mapped; nil: it is not
	set    int      // bits
}

// sieveBits is how many bits a sieve has for each ban by logs that there may be, and by hand: full
// of either, it lets seven strangers of eight pass.
const sieveBits = 8

// newSieve makes an empty sieve for so many bans.
func newSieve(spec *ebpf.MapSpec, bans uint32) (*sieve, error) {
	words := uint32(1) << bits.Len32((sieveBits*bans-1)/64)
	spec = spec.Copy()
	spec.MaxEntries, spec.Flags = words, unix.BPF_F_MMAPABLE
	m, err := ebpf.NewMap(spec)
	if err != nil { // before 5.5
		spec.Flags = 0
		m, err = ebpf.NewMap(spec)
	}
	if err != nil {
		return nil, fmt.Errorf("make map %s: %w", spec.Name, err)
	}
	if m.Flags()&unix.BPF_F_MMAPABLE == 0 {
		return &sieve{m: m, words: make([]uint64, words)}, nil
	}
	shared, err := unix.Mmap(m.FD(), 0, int(words)*8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("share map %s: %w", spec.Name, err), m.Close())
	}
	return &sieve{m: m, words: unsafe.Slice((*uint64)(unsafe.Pointer(&shared[0])), words), shared: shared}, nil
}

func (s *sieve) close() error {
	if s == nil {
		return nil
	}
	err := s.m.Close()
	if s.shared != nil {
		err = errors.Join(err, unix.Munmap(s.shared))
	}
	return err
}

// shift leaves of a hash the number of a bit.
func (s *sieve) shift() uint8 { return uint8(64 - bits.TrailingZeros64(uint64(len(s.words))*64)) }

// hash is that of the kernel program.
func hash(key *[16]byte) uint64 {
	const golden = 0x9e3779b97f4a7c15
	return (binary.BigEndian.Uint64(key[:]) ^ binary.BigEndian.Uint64(key[8:])) * golden
}

// bitOf is where the bit of key is.
func (s *sieve) bitOf(key *[16]byte) (word int, bit uint64) {
	n := hash(key) >> s.shift()
	return int(n / 64), 1 << (n % 64)
}

// mark sets the bit of key and reports whether it was not.
func (s *sieve) mark(key *[16]byte) (fresh bool, err error) {
	word, bit := s.bitOf(key)
	if s.words[word]&bit != 0 {
		return false, nil
	}
	if err := s.write(word, s.words[word]|bit); err != nil {
		return false, err
	}
	s.set++
	return true, nil
}

// write has the kernel program see v from now on, or on an error what it saw before.
func (s *sieve) write(word int, v uint64) error {
	if s.shared == nil {
		if err := s.m.Put(uint32(word), v); err != nil {
			return fmt.Errorf("write sieve: %w", err)
		}
	}
	s.words[word] = v
	return nil
}

// isFull reports whether so many bits are of bans that are over, with so many that are not, that
// it is worth while to clear them.
func (s *sieve) isFull(bans int) bool { return s.set > 16*len(s.words) && s.set > 2*bans }

// mark has the kernel program look for a ban at p and reports whether it would not have.
func (l *Loader) mark(p *place) (fresh bool, err error) {
	if p.table == inNets {
		return false, nil
	}
	return l.sieve.mark(&p.Addr)
}

// sift leaves in the sieve the bits of those bans alone that are in the account.
func (l *Loader) sift() error {
	s := l.sieve
	wanted := make([]uint64, len(s.words))
	s.set = 0
	for b := range l.account.All {
		p := l.placeOf(&b)
		if p.table == inNets {
			continue
		}
		word, bit := s.bitOf(&p.Addr)
		if wanted[word]&bit == 0 {
			wanted[word] |= bit
			s.set++
		}
	}
	for word, v := range wanted {
		if v == s.words[word] {
			continue
		}
		if err := s.write(word, v); err != nil {
			return err
		}
	}
	return nil
}
