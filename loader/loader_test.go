package loader

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"xdpban/internal/ban"
	"xdpban/internal/lab"
)

// limit leaves the calling thread these capabilities alone.
func limit(capabilities ...int) error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	for _, c := range capabilities {
		sets[c/32].Effective |= 1 << (c % 32)
		sets[c/32].Permitted |= 1 << (c % 32)
	}
	return unix.Capset(&head, &sets[0])
}

// with calls fn on a thread that has only these capabilities, and dies with it.
func with(capabilities []int, fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: nobody else gets this thread
		if err := limit(capabilities...); err != nil {
			done <- err
			return
		}
		done <- fn()
	}()
	return <-done
}

// enough are the capabilities that this kernel asks for.
func enough(t *testing.T) []int {
	t.Helper()
	var name unix.Utsname
	must(t, unix.Uname(&name))
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	must(t, err)
	if major > 6 || major == 6 && minor >= 8 {
		return []int{unix.CAP_BPF, unix.CAP_NET_ADMIN}
	}
	if lab.CountsMemlock() {
		return []int{unix.CAP_BPF, unix.CAP_NET_ADMIN, unix.CAP_PERFMON, unix.CAP_SYS_RESOURCE}
	}
	return []int{unix.CAP_BPF, unix.CAP_NET_ADMIN, unix.CAP_PERFMON}
}

func TestTwoCapabilitiesAreEnough(t *testing.T) {
	capabilities := enough(t)
	w := newWire(t, 0)
	must(t, w.victim.Do(func() error { // on a thread that cannot go home and so ends
		if err := limit(capabilities...); err != nil {
			return err
		}
		l, err := Open(w.settings)
		if err != nil {
			return err
		}
		defer l.Close()
		if _, err := l.Attach("eth0"); err != nil {
			return err
		}
		if _, err := l.Test(from("192.0.2.7")); err != nil {
			return err
		}
		if err := l.Allow(allowed("192.0.2.8/32")); err != nil {
			return err
		}
		return l.Ban(hour("192.0.2.7/32"), hour("198.51.100.0/24"))
	}))
	w.want("192.0.2.7", Drop)
	w.want("198.51.100.1", Drop)
	w.want("192.0.2.8", Pass)
	must(t, with([]int{unix.CAP_BPF, unix.CAP_NET_ADMIN}, func() error { return Remove(w.settings.Pin) }))
	w.want("192.0.2.7", Pass)
}

func TestMissingPrivilegeIsNamed(t *testing.T) {
	for _, test := range []struct {
		has  []int
		lack string
	}{
		{nil, "CAP_BPF and CAP_NET_ADMIN"},
		{[]int{unix.CAP_NET_ADMIN}, "CAP_BPF"},
		{[]int{unix.CAP_BPF}, "CAP_NET_ADMIN"},
	} {
		t.Run("without "+test.lack, func(t *testing.T) {
			s := small(t, "unprivileged")
			err := with(test.has, func() error {
				l, err := Open(s)
				if err == nil {
					l.Close()
				}
				return err
			})
			must(t, Remove(s.Pin))
			if !errors.Is(err, os.ErrPermission) || !strings.HasSuffix(err.Error(), ": this process lacks "+test.lack) ||
				strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Verifiers before 6.8 refuse the program to whoever may not see kernel pointers.
func TestPrivilegeThatTheVerifierMissesIsNamed(t *testing.T) {
	s := small(t, "refused by the verifier")
	must(t, lab.Hosts(t, 1)[0].DoOn(lab.Without(lab.ProgLoad, unix.EACCES), func() error {
		if err := limit(unix.CAP_BPF, unix.CAP_NET_ADMIN); err != nil {
			return err
		}
		if _, err := Open(s); err == nil || !strings.Contains(err.Error(), ": this process lacks CAP_PERFMON, ") {
			t.Errorf("got %v", err)
		}
		return nil
	}))
	must(t, Remove(s.Pin))
}

func TestOpenRefuses(t *testing.T) {
	good := small(t, "refused")
	layout := filepath.Join(good.Pin, "v999")
	for _, test := range []struct {
		name    string
		change  func(*Settings)
		prepare func() error
		want    string
	}{
		{"a pin outside bpffs", func(s *Settings) { s.Pin = "/run/xdpban" }, nil, "pin below /run/xdpban: it is not on a bpffs"},
		{"no room for bans", func(s *Settings) { s.MaxBans = 0 }, nil, "open loader: the size of a map is 0"},
		{"an IPv6 prefix of no length", func(s *Settings) { s.IPv6Prefix = 129 }, nil, "open loader: ipv6_prefix is 129"},
		{"another layout", func(*Settings) {}, func() error { return os.MkdirAll(layout, 0o700) }, "it holds layout v999 of another build"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := good
			test.change(&s)
			if test.prepare != nil {
				must(t, test.prepare())
			}
			l, err := Open(s)
			if err == nil {
				l.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			must(t, Remove(good.Pin))
		})
	}
}

// Bans read back are those that were made, to a second in Since and to a tick elsewhere.
func TestBansReadBack(t *testing.T) {
	l := open(t)
	now := time.Now()
	made := map[netip.Prefix]ban.Ban{}
	for _, b := range []ban.Ban{
		{Jail: "sshd", Reason: "failed-password", Since: now, End: now.Add(time.Hour), Quiet: time.Minute},
		{Jail: "asterisk", Reason: "schlüssel\n\x1b[31m", Since: now.Add(-time.Hour), End: now.Add(time.Minute), Limit: now.Add(24 * time.Hour)},
		{Jail: ban.ByHand, Reason: "", Since: now.AddDate(-1, 0, 0), End: now.AddDate(1, 0, 0), Hand: true, Forced: true},
	} {
		for _, p := range []string{"192.0.2.7/32", "198.51.100.0/24", "2001:db8::/64", "2001:db8::1/128", "0.0.0.0/0", "::/0"} {
			if prefix := netip.MustParsePrefix(p); made[prefix].Jail == "" {
				b.Prefix = prefix
				made[prefix] = b
				break
			}
		}
	}
	for _, b := range made {
		must(t, l.Ban(b))
	}
	records, err := l.Bans()
	must(t, err)
	if len(records) != len(made) {
		t.Errorf("got %d bans, want %d", len(records), len(made))
	}
	for _, r := range records {
		want := made[r.Prefix]
		near(t, "end", r.End, want.End)
		if !want.Limit.IsZero() {
			near(t, "limit", r.Limit, want.Limit)
		}
		if d := r.Since.Sub(want.Since).Abs(); d > time.Second {
			t.Errorf("since: got %v, want %v", r.Since, want.Since)
		}
		r.Since, r.End = want.Since, want.End
		if !want.Limit.IsZero() {
			r.Limit = want.Limit
		}
		if r != (ban.Record{Ban: want}) {
			t.Errorf("got %+v, want %+v", r, want)
		}
	}
}

func TestRenewalKeepsWhatLastsLonger(t *testing.T) {
	l := open(t)
	first := hour("192.0.2.7/32")
	must(t, l.Ban(first))
	for range 3 {
		verdict(t, l, from("192.0.2.7"))
	}
	shorter := hour("192.0.2.7/32")
	shorter.End, shorter.Quiet = time.Now().Add(time.Minute), time.Minute
	must(t, l.Ban(shorter))
	byHand := hour("192.0.2.7/32")
	byHand.Jail, byHand.Reason, byHand.Hand, byHand.End = ban.ByHand, "enough", true, time.Now().Add(3*time.Hour)
	must(t, l.Ban(byHand))
	must(t, l.Ban(shorter)) // does not take it from the operator's hand
	records, err := l.Bans()
	if len(records) != 1 || err != nil {
		t.Fatalf("bans: %+v, %v", records, err)
	}
	r := records[0]
	if r.Quiet != time.Hour || !r.Hand || r.Packets != 3 || r.Refreshes != 1 {
		t.Errorf("got %+v", r)
	}
	near(t, "end", r.End, byHand.End)
	if _, ok, err := l.lookup(placeIn(inHeld, first.Prefix)); !ok || err != nil {
		t.Errorf("a ban by hand is not where nothing is evicted: %v, %v", ok, err)
	}
	if _, ok, err := l.lookup(placeIn(inBans, first.Prefix)); ok || err != nil {
		t.Errorf("it is still where it was: %v, %v", ok, err)
	}
}

// Numbers of bans lead CPUs' counts back to them: none is given twice, whoever made the ban, whether it
// is there still, and however the Loader ended.
func TestNumbersOfBansAreNeverGivenTwice(t *testing.T) {
	l := open(t)
	given := make(map[uint32]bool)
	for range 4 {
		for _, b := range row("192.0.2.1", 3) {
			must(t, l.Ban(b))
			v, there, err := l.lookup(l.placeOf(&b))
			if !there || err != nil || given[v.Id] || v.Id == 0 {
				t.Fatalf("ban %+v: %v, %v", v, there, err)
			}
			given[v.Id] = true
		}
		for _, b := range row("192.0.2.1", 3) {
			_, err := l.Unban(b.Prefix)
			must(t, err)
		}
		l = reopen(t, l.settings) // without a word to the one before
	}
}

// The program looks at bans by hand and prefixes while there are any, and the kernel hears of that
// before the first and after the last.
func TestTheKernelKnowsWhichTablesAreEmpty(t *testing.T) {
	l := open(t)
	byHand, prefix := hour("192.0.2.7/32"), hour("198.51.100.0/24")
	byHand.Hand = true
	want := func(held, nets bool) {
		t.Helper()
		var c xdpbanContents
		must(t, l.maps.State.Lookup(uint32(0), &c))
		if (c.Held > 0) != held || (c.Nets > 0) != nets || c.NextId < l.contents.NextId {
			t.Errorf("the kernel has %+v, the maps %+v", c, l.contents)
		}
	}
	want(false, false)
	for range 2 {
		must(t, l.Ban(byHand))
		want(true, false)
		must(t, l.Ban(prefix))
		want(true, true)
		l = reopen(t, l.settings)
		want(true, true)
		for _, b := range []ban.Ban{byHand, prefix} {
			_, err := l.Unban(b.Prefix)
			must(t, err)
		}
		want(false, false)
	}
}

func TestBanAfterItsEndIsNew(t *testing.T) {
	l := open(t)
	b := hour("192.0.2.7/32")
	b.End, b.Quiet = time.Now().Add(10*time.Second), 0
	must(t, l.Ban(b))
	verdict(t, l, from("192.0.2.7"))
	age(t, l, placeIn(inBans, b.Prefix), 10*time.Second)
	must(t, l.Ban(b))
	if r, ok, err := l.Find(b.Prefix); !ok || err != nil || r.Packets != 0 {
		t.Errorf("got %+v, %v, %v", r, ok, err)
	}
}

func TestFindCovers(t *testing.T) {
	l := open(t)
	must(t, l.Ban(hour("198.51.0.0/16"), hour("198.51.100.0/24"), hour("2001:db8::/64")))
	for ask, want := range map[string]string{
		"198.51.100.7/32":  "198.51.100.0/24",
		"198.51.100.0/24":  "198.51.100.0/24",
		"198.51.7.7/32":    "198.51.0.0/16",
		"2001:db8::5/128":  "2001:db8::/64",
		"203.0.113.1/32":   "",
		"198.0.0.0/8":      "",
		"2001:db8:1::/128": "",
	} {
		r, ok, err := l.Find(netip.MustParsePrefix(ask))
		got := ""
		if ok {
			got = r.Prefix.String()
		}
		if got != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", ask, got, err, want)
		}
	}
}

func TestFullTableIsAnError(t *testing.T) {
	l := open(t)
	for i := range int(l.settings.MaxPrefixes) {
		b := hour("10.0.0.0/24")
		b.Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
		must(t, l.Ban(b))
	}
	err := l.Ban(hour("198.51.100.0/24"))
	if want := fmt.Sprintf("the kernel's map nets is full, it holds %d", l.settings.MaxPrefixes); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestSweepReturnsWhatEnded(t *testing.T) {
	l := open(t)
	now := time.Now()
	soon := func(prefix string) ban.Ban {
		b := hour(prefix)
		b.End = now.Add(200 * time.Millisecond)
		return b
	}
	still := soon("192.0.2.9/32") // but packets come
	gone := soon("192.0.2.10/32") // but the kernel loses it
	must(t, l.Ban(soon("192.0.2.7/32"), soon("198.51.100.0/24"), hour("192.0.2.8/32"), still, gone))
	verdict(t, l, from("192.0.2.9"))
	verdict(t, l, from("198.51.100.1"))
	back := soon("198.51.100.0/24")
	age(t, l, placeIn(inBans, still.Prefix), 0)
	must(t, l.maps.Bans.Delete(gone.Prefix.Addr().As16()))

	_, err := l.Unban(back.Prefix) // a ban made again is swept once
	must(t, err)
	must(t, l.Ban(back))
	ended, missing := make(map[netip.Prefix]int), make(map[netip.Prefix]int)
	for deadline := now.Add(3 * time.Second); len(ended) < 2 && time.Now().Before(deadline); {
		records, lost, err := l.Sweep()
		must(t, err)
		for _, r := range records {
			ended[r.Prefix]++
		}
		for _, prefix := range lost {
			missing[prefix]++
		}
	}
	if len(ended) != 2 || ended[netip.MustParsePrefix("192.0.2.7/32")] != 1 || ended[back.Prefix] != 1 {
		t.Errorf("ended: got %v", ended)
	}
	if len(missing) != 1 || missing[gone.Prefix] != 1 {
		t.Errorf("missing: got %v", missing)
	}
	records, err := l.Bans()
	if len(records) != 2 || err != nil {
		t.Errorf("left: got %+v, %v", records, err)
	}
	if l.contents.Nets != 0 {
		t.Errorf("the program would still look for prefixes: %+v", l.contents)
	}
}

func TestAllowReplacesTheList(t *testing.T) {
	l := open(t)
	must(t, l.Ban(hour("0.0.0.0/0")))
	for _, test := range []struct {
		list *ban.Set
		want map[string]Verdict
	}{
		{allowed("192.0.2.1/32", "192.0.2.2/32"), map[string]Verdict{"192.0.2.1": Pass, "192.0.2.2": Pass, "192.0.2.3": Drop}},
		{allowed("192.0.2.2/32", "192.0.2.3/32"), map[string]Verdict{"192.0.2.1": Drop, "192.0.2.2": Pass, "192.0.2.3": Pass}},
		{allowed(), map[string]Verdict{"192.0.2.1": Drop, "192.0.2.2": Drop, "192.0.2.3": Drop}},
	} {
		must(t, l.Allow(test.list))
		for source, want := range test.want {
			if got := verdict(t, l, from(source)); got != want {
				t.Errorf("%s: got %v, want %v", source, got, want)
			}
		}
	}
}

// Half a full map of bans survives that all of them are made again: nothing is evicted.
func TestNoBanIsEvictedBelowMaxBans(t *testing.T) {
	l := open(t)
	bans := make([]ban.Ban, l.settings.MaxBans)
	for i := range bans {
		bans[i] = hour("10.0.0.0/32")
		bans[i].Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
	}
	for range 3 {
		must(t, l.Ban(bans...))
	}
	records, err := l.Bans()
	if len(records) != len(bans) || err != nil {
		t.Errorf("got %d bans, %v, want %d", len(records), err, len(bans))
	}
}

func TestShrinkingBelowWhatIsInForceIsRefused(t *testing.T) {
	lab.Require(t)
	l := open(t)
	for i := range 200 {
		b := hour("10.0.0.0/24")
		b.Prefix = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24)
		must(t, l.Ban(b))
	}
	s := l.settings
	must(t, l.Close())
	s.MaxPrefixes = 100
	if _, err := Open(s); err == nil || !strings.Contains(err.Error(), "shrink map nets from 256 to 100 entries: more are in force") {
		t.Errorf("got %v", err)
	}
	s.MaxPrefixes = 256
	l = reopen(t, s)
	if records, err := l.Bans(); len(records) != 200 || err != nil {
		t.Errorf("got %d bans, %v", len(records), err)
	}
}

func TestLabelsWithoutBansAreForgotten(t *testing.T) {
	l := open(t)
	for i := range 5 {
		b := hour("192.0.2.7/32")
		b.Reason = fmt.Sprint("rule ", i, strings.Repeat("é", 200))
		must(t, l.Ban(b))
	}
	s := l.settings
	must(t, l.Close())
	l = reopen(t, s)
	if len(l.labels.names) != 1 {
		t.Errorf("labels: got %v", l.labels.names)
	}
	r, _, err := l.Find(netip.MustParsePrefix("192.0.2.7/32"))
	if !strings.HasPrefix(r.Reason, "rule 4éé") || len(r.Reason) > 191 || err != nil {
		t.Errorf("got %q, %v", r.Reason, err)
	}
}

// What kernels without batches get.
func TestEntriesOneByOne(t *testing.T) {
	lab.Require(t)
	want := map[uint32]uint32{1: 10, 2: 20, 3: 30}
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 16})
	must(t, err)
	defer m.Close()
	must(t, putSingle(m, []uint32{1, 2, 3}, []uint32{10, 20, 30}))
	for name, read := range map[string]func(*ebpf.Map, func([]uint32, []uint32) error) error{
		"in batches": each[uint32, uint32], "one by one": eachSingle[uint32, uint32],
	} {
		got := make(map[uint32]uint32)
		must(t, read(m, func(keys, values []uint32) error {
			for i, k := range keys {
				got[k] = values[i]
			}
			return nil
		}))
		if !maps.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

// A Loader that dies while it replaces a map leaves two, and either may be in force.
func TestInterruptedResizeLosesNothing(t *testing.T) {
	prefix := netip.MustParsePrefix("192.0.2.7/32")
	for _, test := range []struct {
		name         string
		pinned, next time.Duration // by how much packets moved the end in each map
	}{
		{"links had gone over", 0, 2 * time.Hour},
		{"links had not gone over", 2 * time.Hour, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := open(t)
			b := hour(prefix.String())
			must(t, l.Ban(b))
			p := placeIn(inBans, prefix)
			v, _, err := l.lookup(p)
			must(t, err)
			begin := v.End
			spec, err := loadXdpban()
			must(t, err)
			spec.Maps[xdpbanMapBans].MaxEntries = 4096
			unfinished, err := ebpf.NewMap(spec.Maps[xdpbanMapBans])
			must(t, err)
			defer unfinished.Close()
			v.End = begin + uint64(test.next)
			must(t, unfinished.Put(p.Addr, &v))
			must(t, unfinished.Pin(l.pin(xdpbanMapBans+next)))
			v.End = begin + uint64(test.pinned)
			must(t, l.maps.Bans.Put(p.Addr, &v))
			must(t, l.Close())

			s := l.settings
			for _, size := range []uint32{s.MaxBans, 2048, 2048} {
				s.MaxBans = size
				l = reopen(t, s)
				r, ok, err := l.Find(prefix)
				if !ok || err != nil {
					t.Fatalf("find: %v, %v", ok, err)
				}
				near(t, "end", r.End, b.End.Add(2*time.Hour))
				if _, err := os.Stat(l.pin(xdpbanMapBans + next)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the pin beside: got %v", err)
				}
				if got := l.maps.Bans.MaxEntries(); got != 2*size {
					t.Errorf("size: got %d, want %d", got, 2*size)
				}
				must(t, l.Close())
			}
		})
	}
}

// Builds differ in how many bans a CPU counts for by itself: the map of the last one is replaced,
// and counting goes on.
func TestPendingOfAnotherSizeIsReplaced(t *testing.T) {
	l := open(t)
	prefix := netip.MustParsePrefix("192.0.2.7/32")
	must(t, l.Ban(hour(prefix.String())))
	must(t, l.Close())
	must(t, os.Remove(l.pin(xdpbanMapPending)))
	spec, err := loadXdpban()
	must(t, err)
	size := spec.Maps[xdpbanMapPending].MaxEntries
	spec.Maps[xdpbanMapPending].MaxEntries = size / 2
	before, err := ebpf.NewMap(spec.Maps[xdpbanMapPending])
	must(t, err)
	must(t, before.Pin(l.pin(xdpbanMapPending)))
	must(t, before.Close())

	for range 2 {
		l = reopen(t, l.settings)
		r, _, err := l.Find(prefix)
		must(t, err)
		const packets = 5
		for range packets {
			if got, err := run(l.prog, from("192.0.2.7")); got != Drop || err != nil {
				t.Fatalf("got %v, %v", got, err)
			}
		}
		after, _, err := l.Find(prefix)
		must(t, err)
		if got := after.Packets - r.Packets; got != packets {
			t.Errorf("%d packets were counted, want %d", got, packets)
		}
		if got := l.maps.Pending.MaxEntries(); got != size {
			t.Errorf("size: got %d, want %d", got, size)
		}
		pinned, err := ebpf.LoadPinnedMap(l.pin(xdpbanMapPending), nil)
		must(t, err)
		if got := pinned.MaxEntries(); got != size {
			t.Errorf("pinned: got %d, want %d", got, size)
		}
		must(t, pinned.Close())
		must(t, l.Close())
	}
}
