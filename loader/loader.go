// Package loader puts the kernel program on interfaces and bans into its maps.
//
// Everything in force lives in the kernel and is pinned below Settings.Pin: it goes on
// without this process, and the next Loader adopts it. A Loader has one owner, who calls
// it from one goroutine, but for Each and Compare; calls that name interfaces look in the
// network namespace of the calling thread.
package loader

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/cilium/ebpf"

	"xdpban/internal/ban"
)

//go:generate go tool bpf2go -target bpfel,bpfeb -cc clang -strip llvm-strip xdpban ../bpf/xdpban.c -- -mcpu=v3 -Wall -Wextra -Werror -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu

// Settings say where the kernel's part lives and how much it holds.
type Settings struct {
	Pin         string       // directory on a bpffs, made if need be
	IPv6Prefix  int          // bits of an IPv6 address that count as one source, 1 to 128
	MaxBans     uint32       // bans of single sources that logs lead to; as many by hand
	MaxPrefixes uint32       // bans of prefixes
	MaxAllowed  uint32       // prefixes on the allow list
	Log         *slog.Logger // nil: nowhere
}

// A Loader owns the kernel program, its maps, and its hold on interfaces.
type Loader struct {
	settings Settings
	dir      string // of this layout, below settings.Pin
	clock    *clock
	maps     xdpbanMaps
	sieve    *sieve
	prog     *ebpf.Program     // what links run
	dry      *ebpf.Program     // the same, but it writes nothing
	held     map[int]*attached // by index
	account  *ban.Account      // every ban that should be in the maps
	labels   labels
	staging  staging  // room for bans on their way
	written  writing  // the same, for those of one table
	allowed  *ban.Set // the kernel's allow list, or more
	contents xdpbanContents
	stated   xdpbanContents // what the kernel has of that, see setContents
}

// Open makes the maps and the program, or takes them over where an earlier Loader left
// them: its bans go on, and its links run this program from now on. It attaches nothing
// new. An error is os.ErrPermission where a privilege is missing, and says which.
func Open(s Settings) (*Loader, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	l := &Loader{settings: s, held: make(map[int]*attached), account: ban.NewAccount()}
	if err := l.open(); err != nil {
		l.Close()
		return nil, explain(err)
	}
	return l, nil
}

// maxEntries bounds the maps: what is beyond takes more memory than hosts have.
const maxEntries = 1 << 26

func (s Settings) check() error {
	if s.IPv6Prefix < 1 || s.IPv6Prefix > 128 {
		return fmt.Errorf("open loader: ipv6_prefix is %d, not 1 to 128", s.IPv6Prefix)
	}
	for _, n := range []uint32{s.MaxBans, s.MaxPrefixes, s.MaxAllowed} {
		if n < 1 || n > maxEntries {
			return fmt.Errorf("open loader: the size of a map is %d, not 1 to %d", n, maxEntries)
		}
	}
	return nil
}

func (l *Loader) open() error {
	if err := liftMemlock(); err != nil {
		return err
	}
	spec, err := loadXdpban()
	if err != nil {
		return fmt.Errorf("read the kernel program: %w", err)
	}
	if l.dir, err = layoutDir(l.settings.Pin, spec); err != nil {
		return err
	}
	if l.clock, err = newClock(); err != nil {
		return err
	}
	old, err := l.openMaps(spec)
	if err != nil {
		return err
	}
	defer old.Close()
	if l.sieve, err = newSieve(spec.Maps[xdpbanMapSieve], l.settings.MaxBans); err != nil {
		return err
	}
	if err := l.adoptAllowed(); err != nil {
		return err
	}
	if err := l.adoptBans(); err != nil {
		return err
	}
	if err := l.loadPrograms(spec); err != nil {
		return err
	}
	if err := l.pinMaps(old); err != nil {
		return err
	}
	if err := l.adopt(); err != nil {
		return err
	}
	if err := l.settle(old); err != nil {
		return err
	}
	return l.lookAgain()
}

// loadPrograms loads the program and its dry copy on the maps.
func (l *Loader) loadPrograms(spec *ebpf.CollectionSpec) error {
	var err error
	if l.prog, err = l.load(spec.Copy(), false); err != nil {
		return err
	}
	l.dry, err = l.load(spec.Copy(), true)
	return err
}

func (l *Loader) load(spec *ebpf.CollectionSpec, dry bool) (*ebpf.Program, error) {
	if err := prepare(spec, l.clock, l.settings.IPv6Prefix, dry); err != nil {
		return nil, err
	}
	if err := spec.Variables[xdpbanVarSieveShift].Set(l.sieve.shift()); err != nil {
		return nil, fmt.Errorf("set %s of the kernel program: %w", xdpbanVarSieveShift, err)
	}
	sieve := spec.Maps[xdpbanMapSieve]
	sieve.MaxEntries, sieve.Flags = l.sieve.m.MaxEntries(), l.sieve.m.Flags()
	maps := map[string]*ebpf.Map{xdpbanMapSieve: l.sieve.m}
	for name, m := range l.byName() {
		spec.Maps[name].MaxEntries = (*m).MaxEntries()
		maps[name] = *m
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: maps})
	if err != nil {
		return nil, fmt.Errorf("load the kernel program: %w", err)
	}
	defer coll.Close()
	return coll.DetachProgram(xdpbanProgXdpban), nil
}

// prepare tells the kernel program what it is told once.
func prepare(spec *ebpf.CollectionSpec, c *clock, ipv6Prefix int, dry bool) error {
	for name, value := range map[string]any{
		xdpbanVarClockKind:     c.kind,
		xdpbanVarNsPerJiffy:    c.scale,
		xdpbanVarJiffiesOffset: c.offset,
		xdpbanVarIpv6Prefix:    uint8(ipv6Prefix),
		xdpbanVarIpv6Mask:      maskOf(ipv6Prefix),
		xdpbanVarDry:           dry,
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set %s of the kernel program: %w", name, err)
		}
	}
	c.alone(spec.Programs[xdpbanProgXdpban].Instructions)
	return nil
}

// Close gives back what this process holds. Everything in force stays so.
func (l *Loader) Close() error {
	errs := []error{l.clock.close(), l.prog.Close(), l.dry.Close(), l.sieve.close()}
	for _, m := range l.byName() {
		errs = append(errs, (*m).Close())
	}
	for _, a := range l.held {
		errs = append(errs, a.Close())
	}
	clear(l.held)
	return errors.Join(errs...)
}

// Clock names the clock by which the kernel program ends bans.
func (l *Loader) Clock() string { return l.clock.String() }

// A Verdict is what the kernel program does with a packet.
type Verdict uint32

// The verdicts that the kernel program knows.
const (
	Drop Verdict = 1 // XDP_DROP
	Pass Verdict = 2 // XDP_PASS
)

// String is DROP or PASS.
func (v Verdict) String() string {
	switch v {
	case Drop:
		return "DROP"
	case Pass:
		return "PASS"
	}
	return fmt.Sprintf("XDP action %d", uint32(v))
}

// Test says what becomes of an Ethernet frame of 14 bytes or more. It runs the program in
// the kernel on the maps in force, in a copy that counts nothing and prolongs no ban.
func (l *Loader) Test(frame []byte) (Verdict, error) {
	return run(l.dry, frame)
}

func run(prog *ebpf.Program, frame []byte) (Verdict, error) {
	verdict, err := prog.Run(&ebpf.RunOptions{Data: frame, Repeat: 1})
	if err != nil {
		return 0, fmt.Errorf("run the kernel program: %w", err)
	}
	return Verdict(verdict), nil
}

// Totals reads the counts of all CPUs, of all interfaces, since the maps were made.
func (l *Loader) Totals() (ban.Totals, error) {
	var cpus []xdpbanCounts
	if err := l.maps.Totals.Lookup(uint32(0), &cpus); err != nil {
		return ban.Totals{}, fmt.Errorf("read totals: %w", err)
	}
	var t ban.Totals
	for _, c := range cpus {
		t.Dropped.Packets += c.Dropped.Packets
		t.Dropped.Bytes += c.Dropped.Bytes
		t.Allowed.Packets += c.Allowed.Packets
		t.Allowed.Bytes += c.Allowed.Bytes
	}
	return t, nil
}

// A Room is one of the kernel's tables and how full it is.
type Room struct {
	Of   string // what it is for
	Used int
	Max  int
	Size int    // of the map, which is larger where the kernel would otherwise evict
	Key  string // of the configuration, which decides it
}

// Rooms are how much the kernel has room for.
func (l *Loader) Rooms() []Room {
	m := &l.maps
	return []Room{
		{"bans by log", l.byLog(), int(l.room(inBans)), int(m.Bans.MaxEntries()), "maxbans"},
		{"bans by hand", int(l.contents.Held), int(l.room(inHeld)), int(m.Held.MaxEntries()), "maxbans"},
		{"prefixes", int(l.contents.Nets), int(l.room(inNets)), int(m.Nets.MaxEntries()), "maxprefixes"},
		{"allow list", l.allowed.Len(), int(l.settings.MaxAllowed), int(m.Allow.MaxEntries()), "maxallowed"},
	}
}

// maskOf has the first bits of an address set.
func maskOf(bits int) [16]byte {
	var mask [16]byte
	for i := range mask {
		mask[i] = 0xff
	}
	return netip.PrefixFrom(netip.AddrFrom16(mask), bits).Masked().Addr().As16()
}
