package daemon

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"xdpban/internal/control"
	"xdpban/internal/lab"
)

// pace is that of an attack of some 2,000 packets a second.
const pace = 500 * time.Microsecond

// nextBuild is an xdpban of another version, whose kernel program is another one too.
func nextBuild(t *testing.T) string {
	t.Helper()
	const opens = "ebpf.NewCollectionWithOptions(spec,"
	room, err := filepath.Abs("../../loader")
	must(t, err)
	source, err := os.ReadFile(filepath.Join(room, "loader.go"))
	must(t, err)
	if !bytes.Contains(source, []byte(opens)) {
		t.Fatalf("loader.go does not say %s", opens)
	}
	changed := filepath.Join(t.TempDir(), "loader.go")
	must(t, os.WriteFile(changed, bytes.Replace(source, []byte(opens), []byte("ebpf.NewCollectionWithOptions(longer(spec),"), 1), 0o600))
	added, err := filepath.Abs("testdata/longer.go.txt")
	must(t, err)
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(room, "loader.go"): changed,
		filepath.Join(room, "longer.go"): added,
	}})
	must(t, err)
	list := filepath.Join(t.TempDir(), "overlay.json")
	must(t, os.WriteFile(list, overlay, 0o600))
	path, err := build("next", "-overlay", list)
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
