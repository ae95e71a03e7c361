package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"xdpban/internal/ban"
	"xdpban/internal/control"
	"xdpban/internal/lab"
)

// pace is that of an attack of some 2,000 packets a second.
const pace = 500 * time.Microsecond

// An edit is what another build has in place of a text of this one.
type edit struct{ file, before, after string }

// nextBuild is an xdpban of another version, whose kernel program is another one too.
func nextBuild(t *testing.T) string {
	t.Helper()
	return otherBuild(t, "next", "longer.go", edit{"loader.go", "ebpf.NewCollectionWithOptions(spec,", "ebpf.NewCollectionWithOptions(longer(spec),"})
}

// olderBuild is one of those that took memory for each ban by hand when it was made, and took
// every map of the right size.
func olderBuild(t *testing.T) string {
	t.Helper()
	return otherBuild(t, "older", "older.go",
		edit{"loader.go", "spec, err := loadXdpban()", "spec, err := older()"},
		edit{"maps.go", "s.MaxBans + 1,", "s.MaxBans,"},
		edit{"maps.go", "alike(pinned, spec.MaxEntries, spec.Flags)", "pinned.MaxEntries() == spec.MaxEntries"},
		edit{"maps.go", "alike(pinned, m.MaxEntries(), m.Flags())", "pinned.MaxEntries() == m.MaxEntries()"})
}

// otherBuild is an xdpban with edits of the loader and a file of testdata added to it.
func otherBuild(t *testing.T, version, added string, edits ...edit) string {
	t.Helper()
	room, err := filepath.Abs("../../loader")
	must(t, err)
	text, err := filepath.Abs("testdata/" + added + ".txt")
	must(t, err)
	dir := t.TempDir()
	replace := map[string]string{filepath.Join(room, added): text}
	for _, e := range edits {
		from := filepath.Join(room, e.file)
		if earlier, twice := replace[from]; twice {
			from = earlier
		}
		source, err := os.ReadFile(from)
		must(t, err)
		if bytes.Count(source, []byte(e.before)) != 1 {
			t.Fatalf("%s does not say %s once", e.file, e.before)
		}
		changed := filepath.Join(dir, e.file)
		must(t, os.WriteFile(changed, bytes.Replace(source, []byte(e.before), []byte(e.after), 1), 0o600))
		replace[filepath.Join(room, e.file)] = changed
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	must(t, err)
	list := filepath.Join(dir, "overlay.json")
	must(t, os.WriteFile(list, overlay, 0o600))
	path, err := build(version, "-overlay", list)
	must(t, err)
	return path
}

// kernelProgram is the length and the tag of the program that the kernel runs on eth0.
func (s *site) kernelProgram() (instructions int, tag string) {
	s.Helper()
	eth0, err := s.server.Links().LinkByName("eth0")
	must(s, err)
	prog, err := ebpf.NewProgramFromID(ebpf.ProgramID(eth0.Attrs().Xdp.ProgId))
	must(s, err)
	defer prog.Close()
	info, err := prog.Info()
	must(s, err)
	text, err := info.Instructions()
	must(s, err)
	return len(text), info.Tag
}

func TestNoPacketPassesKillAndTakeOver(t *testing.T) {
	next := nextBuild(t)
	inModes(t, func(t *testing.T, mtu int, _ string) { noPacketPassesKillAndTakeOver(t, mtu, nil, next) })
	t.Run("by netlink", func(t *testing.T) { noPacketPassesKillAndTakeOver(t, nativeMTU, lab.WithoutLinks, next) })
}

func noPacketPassesKillAndTakeOver(t *testing.T, mtu int, kernel lab.Kernel, next string) {
	s := newSite(t, mtu)
	s.kernel = kernel
	s.start()
	this := s.xdpban().Path
	before, _ := s.kernelProgram()
	s.fail(attacker, 3)
	first := s.awaitBan(attacker)
	a := s.attack(pace)
	a.goOn(200)
	for _, after := range []struct {
		name, program, version string
		longer                 int // instructions
		changed                keys
	}{
		{"a restart", this, "this", 0, nil},
		{"an upgrade", next, "next", 1, nil},
		{"larger maps", next, "next", 1, keys{"maxbans": "8192", "maxprefixes": "100"}},
		{"another prefix", next, "next", 1, keys{"ipv6_prefix": "56"}},
		{"a downgrade", this, "this", 0, nil},
	} {
		s.crash()
		a.goOn(200)
		s.configure(after.changed)
		s.startAs(s.daemonOf(after.program))
		a.goOn(200)
		b := s.awaitBan(attacker)
		if b.Jail != "sshd" || b.Reason != "failed-password" || b.End.Before(first.End.Add(-time.Second)) {
			t.Errorf("after %s: ban %+v, want that of before: %+v", after.name, b, first)
		}
		if got := s.status().Version; got != after.version {
			t.Errorf("after %s: version %s runs, want %s", after.name, got, after.version)
		}
		if now, _ := s.kernelProgram(); now-before != after.longer {
			t.Errorf("after %s: the kernel program has %d instructions, was %d, want %d more", after.name, now, before, after.longer)
		}
	}
	sent, passed := a.end()
	if sent < 2000 || passed != 0 {
		t.Errorf("%d of %d packets passed", passed, sent)
	}
	s.wantPass(bystander)
}

// Bans by hand go from the map of an older kind into that of this one and back, under fire and with
// many of them, and the next daemon finds them all whichever it is.
func TestNoPacketPassesWhenBansByHandChangeTheirKind(t *testing.T) {
	older := olderBuild(t)
	inModes(t, func(t *testing.T, mtu int, _ string) {
		s := newSite(t, mtu)
		this := s.xdpban().Path
		s.startAs(s.daemonOf(older))
		text, listed := longList(2000)
		listed[netip.MustParsePrefix(attacker+"/32")] = true
		s.ban(control.BanRequest{List: strings.NewReader(text + attacker + "\n"), Name: "list"})
		first := s.awaitBan(attacker)
		a := s.attack(pace)
		a.goOn(200)
		for _, after := range []struct {
			name, program string
			room          string // maxbans
			size, flags   uint32 // of the map
		}{
			{"an upgrade", this, "4096", 4097, 0},
			{"a restart", this, "4096", 4097, 0},
			{"a downgrade", older, "4096", 4096, unix.BPF_F_NO_PREALLOC},
			{"an upgrade to a map of the same size", this, "4095", 4096, 0},
			{"a downgrade to another size", older, "4097", 4097, unix.BPF_F_NO_PREALLOC},
			{"an upgrade to this size", this, "4096", 4097, 0},
		} {
			s.crash()
			a.goOn(200)
			s.configure(keys{"maxbans": after.room})
			s.startAs(s.daemonOf(after.program))
			a.goOn(200)
			s.same("after "+after.name, listed)
			if b := s.awaitBan(attacker); b.Jail != ban.ByHand || b.End.Before(first.End.Add(-time.Second)) {
				t.Errorf("after %s: ban %+v, want that of before: %+v", after.name, b, first)
			}
			held, err := ebpf.LoadPinnedMap(filepath.Join(s.pin(), "v1", "held"), nil)
			must(t, err)
			if held.MaxEntries() != after.size || held.Flags() != after.flags {
				t.Errorf("after %s: a map of %d entries with flags %d, want %d, %d", after.name, held.MaxEntries(), held.Flags(), after.size, after.flags)
			}
			must(t, held.Close())
			if _, err := os.Stat(filepath.Join(s.pin(), "v1", "held-new")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("after %s: the pin beside: %v", after.name, err)
			}
		}
		sent, passed := a.end()
		if sent < 2400 || passed != 0 {
			t.Errorf("%d of %d packets passed", passed, sent)
		}
		s.wantPass(bystander)
	})
}

// What was banned stays so, and what was not is judged by the next daemon.
func TestNextDaemonGoesOn(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.start()
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	s.crash()
	s.wantDrop(attacker)
	s.start()
	s.wantDrop(attacker)
	s.fail(bystander, 3)
	s.awaitBan(bystander)
	s.wantDrop(attacker, bystander)
}

// Who is allowed when the next daemon starts is banned no more.
func TestAllowedMeanwhileIsLetIn(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.start()
	s.fail(attacker, 3)
	s.fail(bystander, 3)
	s.awaitBan(attacker)
	s.awaitBan(bystander)
	s.ban(control.BanRequest{Prefixes: prefixes(bystander6 + "/128"), Force: true})
	s.crash()
	s.configure(keys{"defaults": "{maxretry: 3, ignoreip: ['" + attacker + "', '" + bystander6 + "']}"})
	s.start()
	s.wantNoBan(attacker)
	s.wantPass(attacker)
	s.wantDrop(bystander, bystander6) // the latter by force
}
