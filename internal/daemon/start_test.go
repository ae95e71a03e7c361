package daemon

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"xdpban/internal/control"
	"xdpban/loader"
)

func TestSecondDaemonRefuses(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.start()
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	code, stderr := s.exit(s.launch(s.xdpban()))
	if code != 75 || !strings.Contains(stderr, "another daemon is running") {
		t.Errorf("the second daemon: exit code %d, %q", code, stderr)
	}
	if got, want := s.status().PID, s.running.Process.Pid; got != want {
		t.Errorf("pid %d answers, want that of the first: %d", got, want)
	}
	s.wantDrop(attacker)
}

// One with another socket, as somebody starts who tries a configuration, would put its own program
// and its own allow list in the place of those in force.
func TestSecondDaemonWithAnotherSocketRefuses(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.start()
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	before := s.status().Interfaces
	for _, args := range [][]string{{"run"}, {"detach"}} {
		cmd := exec.Command(s.xdpban().Path, append(args, "-c", s.path("xdpban.yaml"), "--socket", s.path("other.sock"))...)
		code, stderr := s.exit(s.launch(cmd))
		if code != 75 || !strings.Contains(stderr, "daemon is running") {
			t.Errorf("%v: exit code %d, %q", args, code, stderr)
		}
	}
	if after := s.status().Interfaces; !reflect.DeepEqual(after, before) {
		t.Errorf("enforced by %+v, before by %+v", after, before)
	}
	s.wantDrop(attacker)
}

// The chain is one, whatever else a daemon has for itself: who would share it is refused, detach too, and
// one that has XDP leaves it alone.
func TestSecondDaemonLeavesTheChainAlone(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.configure(keys{"enforce": "iptables"})
	s.start()
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	s.configure(keys{"enforce": "iptables", "pin": s.pin() + "-other", "socket": s.path("other.sock")})
	for _, verb := range []string{"run", "detach"} {
		code, stderr := s.exit(s.launch(exec.Command(s.xdpban().Path, verb, "-c", s.path("xdpban.yaml"))))
		if code != 75 || !strings.Contains(stderr, "daemon is running") {
			t.Errorf("%s: exit code %d, %q", verb, code, stderr)
		}
	}
	s.configure(keys{"enforce": "auto", "pin": s.pin() + "-other", "socket": s.path("other.sock"), "jails": "{}"})
	t.Cleanup(func() { must(t, loader.Remove(s.pin()+"-other")) })
	first := s.client
	s.client = control.NewClient(s.path("other.sock"))
	s.start()
	if got := s.status(); s.interfaces()["eth0"] != "native" || got.Bans.Live != 0 || !slices.Contains(got.Chain.Notes, "take the chain OFFENDINGIPS: another daemon is running") {
		t.Errorf("the other daemon: %+v", got)
	}
	s.client = first
	if got := s.status(); got.Chain.Mended != 0 || got.Bans.Live != 1 {
		t.Errorf("the first daemon: %+v", got)
	}
	s.wantDrop(attacker)
}

// Who has the daemon's log on his terminal through a pipe and leaves, or reads no more, ends no enforcement.
func TestTheDaemonOutlivesTheReaderOfItsLog(t *testing.T) {
	for _, leave := range []bool{true, false} {
		t.Run(fmt.Sprintf("leaves %v", leave), func(t *testing.T) {
			s := newSite(t, nativeMTU)
			s.configure(keys{"logtarget": "STDOUT"})
			reader, writer, err := os.Pipe()
			must(t, err)
			defer reader.Close()
			cmd := s.xdpban()
			cmd.Stdout = writer
			s.startAs(cmd)
			must(t, writer.Close())
			if leave {
				must(t, reader.Close())
			}
			const pipe = 64 << 10 // and a line is longer than 64 bytes
			for i := range pipe / 64 {
				addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
				_, err := s.client.Ban(t.Context(), control.BanRequest{Addresses: []netip.Addr{addr}})
				must(t, err)
			}
			s.fail(attacker, 3)
			s.awaitBan(attacker)
			s.wantDrop(attacker)
			must(t, s.running.Process.Signal(unix.SIGTERM))
			if code, stderr := s.exit(s.running); code != 0 {
				t.Errorf("exit code %d, %q", code, stderr)
			}
		})
	}
}

func TestMissingPrivilegeIsSaid(t *testing.T) {
	for _, test := range []struct {
		name    string
		command func(s *site) *exec.Cmd
	}{
		{"root without capabilities", func(s *site) *exec.Cmd {
			own := s.xdpban()
			return exec.Command("setpriv", append([]string{"--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--"}, own.Args...)...)
		}},
		{"nobody", func(s *site) *exec.Cmd {
			cmd := s.xdpban()
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			return cmd
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, nativeMTU)
			must(t, os.Chmod(s.dir, 0o777))
			must(t, os.Chmod(s.path("xdpban.yaml"), 0o644))
			code, stderr := s.exit(s.launch(test.command(s)))
			said, more, _ := strings.Cut(stderr, "\n")
			_, hint, hinted := strings.Cut(more, "\nhint: ")
			if code != 4 || !strings.HasSuffix(said, "this process lacks CAP_BPF and CAP_NET_ADMIN") || !strings.Contains(more, "OFFENDINGIPS") || !hinted || strings.Count(hint, "\n") != 1 {
				t.Errorf("exit code %d, %q", code, stderr)
			}
		})
	}
}

func TestBadConfigurationDoesNotStart(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.configure(keys{"interface": "[eth0]", "defaults": "{maxretry: none}"})
	code, stderr := s.exit(s.launch(s.xdpban()))
	if code != 78 || strings.Count(stderr, "xdpban: ") != 2 || !strings.Contains(stderr, "interface") || !strings.Contains(stderr, "maxretry") {
		t.Errorf("exit code %d, %q, want 78 and two mistakes", code, stderr)
	}
}

// occupy puts an XDP program of somebody else on eth0.
func (s *site) occupy() link.Link { s.Helper(); return s.occupyAt("eth0") }

func (s *site) occupyAt(name string) link.Link {
	s.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "stranger", Type: ebpf.XDP, License: "MIT",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, int32(loader.Pass)), asm.Return()},
	})
	must(s, err)
	defer prog.Close()
	at, err := s.server.Links().LinkByName(name)
	must(s, err)
	var other link.Link
	must(s, s.server.Do(func() (err error) {
		other, err = link.AttachXDP(link.XDPOptions{Program: prog, Interface: at.Attrs().Index, Flags: link.XDPDriverMode})
		return err
	}))
	s.Cleanup(func() { other.Close() })
	return other
}

func TestForeignProgramIsNamed(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.configure(keys{"enforce": "xdp"})
	other := s.occupy()
	code, stderr := s.exit(s.launch(s.xdpban()))
	if code != 1 || !strings.Contains(stderr, `eth0: occupied by another XDP program: "stranger", id `) {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	s.wantPass(attacker)
	must(t, other.Close())
	s.start()
	if got := s.interfaces()["eth0"]; got != "native" {
		t.Errorf("after the other program has gone: mode %q", got)
	}
}

func TestTerminationLeavesBansInForce(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.start()
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	must(t, s.running.Process.Signal(unix.SIGTERM))
	if code, stderr := s.exit(s.running); code != 0 || stderr != "" {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	if _, err := os.Stat(s.path("socket")); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
	s.wantDrop(attacker)
}
