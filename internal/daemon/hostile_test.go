package daemon

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"xdpban/internal/control"
	"xdpban/internal/lab"
)

// Whoever holds the lock of iptables for long keeps no ban from getting into force.
func TestAHeldLockHoldsUpNoBan(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.on("iptables-legacy", "-A", "INPUT", "-s", "192.0.2.1", "-j", "ACCEPT") // the kind in use
	s.configure(keys{"enforce": "iptables"})
	s.start()
	s.fail(bystander, 3) // its class has its sets from now on
	s.awaitBan(bystander)
	lock, err := os.OpenFile("/run/xtables.lock", os.O_CREATE|os.O_RDONLY, 0o600)
	must(t, err)
	defer lock.Close()
	must(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	s.on("ip6tables-nft", "-S") // the other kind takes no lock
	begin := time.Now()
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	s.wantDrop(attacker)
	if took := time.Since(begin); took > 9*time.Second { // who waits for the lock as iptables -w 10 does takes longer
		t.Errorf("the ban took %v", took)
	}
	if faults := strings.Join(s.status().Faults, "\n"); !strings.Contains(faults, "Can't lock /run/xtables.lock") {
		t.Errorf("status does not say why it has no counts: %q", faults)
	}
	must(t, lock.Close())
	s.await("the fault to be over", func() bool { return len(s.status().Faults) == 0 })
	s.wantDrop(attacker)
}

// A host may lose its iptables while a daemon runs: bans of sets go on, new ones too, and the
// fault is told.
func TestIPTablesGoneWhileItRuns(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.configure(keys{"enforce": "iptables"})
	dir := t.TempDir()
	for _, family := range []string{"iptables-nft", "ip6tables-nft"} {
		real, err := exec.LookPath(family)
		must(t, err)
		for _, name := range []string{family, family + "-restore"} {
			must(t, os.Symlink(strings.TrimSuffix(real, family)+name, filepath.Join(dir, name)))
		}
	}
	cmd := s.xdpban()
	cmd.Env = append(os.Environ(), "PATH="+dir)
	s.startAs(cmd)
	s.fail(bystander, 3)
	s.awaitBan(bystander)
	must(t, os.RemoveAll(dir))
	s.on("iptables-nft", "-A", "INPUT", "-s", "192.0.2.1", "-j", "ACCEPT") // news
	s.await("the fault", func() bool { return strings.Contains(s.log(), "ERROR fault at=iptables") })
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	s.wantDrop(attacker, bystander)
	if faults := strings.Join(s.status().Faults, "\n"); !strings.Contains(faults, "no such file") {
		t.Errorf("status tells no fault of iptables: %q", faults)
	}
}

// What the rules need may be destroyed with them.
func TestSetsDestroyedByHand(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.configure(keys{"enforce": "iptables"})
	s.start()
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	s.wantDrop(attacker)
	s.on("sh", "-c", "for n in 1 2 3 4 5 6 7 8 9; do nft flush ruleset; ipset destroy && break; done")
	s.await("the chain to be back", func() bool { return s.chainIsFirst("iptables") })
	s.wantDrop(attacker)
	s.wantPass(bystander)
}

// Others may unmount bpffs under a daemon, lazily, as it holds a directory there. What runs goes on.
func TestUnmountedBPFFSEndsNothing(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.startAs(through([]string{"unshare", "--mount", "--"}, s.xdpban()))
	s.fail(bystander, 3)
	s.awaitBan(bystander)
	s.on("nsenter", "-t", fmt.Sprint(s.running.Process.Pid), "-m", "umount", "-l", "/sys/fs/bpf")
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	s.wantDrop(attacker, bystander)
	if got := s.interfaces(); !maps.Equal(got, map[string]string{"eth0": "native"}) {
		t.Errorf("interfaces: %v", got)
	}
	reply, err := s.client.Verify(t.Context(), control.VerifyRequest{})
	must(t, err)
	if reply.Compared.Enforced != 2 || reply.Compared.Repaired != 0 {
		t.Errorf("compared: %+v", *reply.Compared)
	}
	s.crash()
	s.start()
	s.wantDrop(attacker, bystander)
}

// The kernel drops news that nobody reads in time.
func TestLostNewsIsMadeUpFor(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.configure(keys{"enforce": "iptables"})
	s.start()
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	must(t, s.running.Process.Signal(syscall.SIGSTOP))
	rules := "add table ip noise\nadd chain ip noise many\n"
	for i := range 20_000 {
		rules += fmt.Sprintf("add rule ip noise many ip saddr 10.1.%d.%d drop\n", i>>8, i&255)
	}
	must(t, os.WriteFile(s.path("noise"), []byte(rules), 0o600))
	s.on("nft", "-f", s.path("noise"))
	s.on("iptables-nft", "-F")
	s.wantPass(attacker)
	if overrun := s.on("awk", "$2 == 12 { lost += $9 } END { print lost + 0 }", "/proc/thread-self/net/netlink"); overrun == "0\n" {
		t.Error("the kernel has lost no news")
	}
	must(t, s.running.Process.Signal(syscall.SIGCONT))
	s.await("the chain to be back", func() bool { return s.chainIsFirst("iptables") })
	s.wantDrop(attacker)
	s.on("iptables-nft", "-F") // and it listens again
	s.await("the chain to be back", func() bool { return s.chainIsFirst("iptables") })
	s.wantDrop(attacker)
}

// A host of containers has hundreds of interfaces that come and go.
func TestManyInterfaces(t *testing.T) {
	const many = 500
	s := newSite(t, nativeMTU)
	s.configure(keys{"interfaces": `["eth*", "port1?"]`})
	s.start()
	for i := 0; i < many; i += 2 {
		must(t, s.server.Links().LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: fmt.Sprintf("port%d", i)}, PeerName: fmt.Sprintf("port%d", i+1)}))
	}
	want := map[string]string{"eth0": "native"}
	for i := 10; i < 20; i++ {
		want[fmt.Sprintf("port%d", i)] = "native"
	}
	s.await("those that are wanted", func() bool { return maps.Equal(s.interfaces(), want) })
	begin := time.Now()
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	t.Logf("among %d interfaces a ban takes %v", many, time.Since(begin).Round(time.Millisecond))
	s.wantDrop(attacker)
	for i := 0; i < many; i += 2 {
		link, err := s.server.Links().LinkByName(fmt.Sprintf("port%d", i))
		must(t, err)
		must(t, s.server.Links().LinkDel(link))
	}
	s.await("them to be gone", func() bool { return maps.Equal(s.interfaces(), map[string]string{"eth0": "native"}) })
	s.wantDrop(attacker)
}

// Where XDP enforces, one line tells of a banned source that comes back, however many packets
// it sends.
func TestWhoComesBackToXDPIsToldOnce(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.configure(keys{"enforce": "xdp", "defaults": "{bantime: 1h, findtime: 10m, maxretry: 3, quiettime: " + seconds(2) + "}"})
	s.start()
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	compare := func() {
		t.Helper()
		_, err := s.client.Verify(t.Context(), control.VerifyRequest{})
		must(t, err)
	}
	told := func() int { return strings.Count(s.log(), "attacker is back source="+attacker) }
	for visit := range 3 {
		for range 50 {
			must(t, s.mouth(attacker).send())
		}
		s.wantDrop(attacker)
		compare()
		compare()
		if got, want := told(), visit; got != want && got != want+1 || visit > 0 && got == 0 {
			t.Errorf("visit %d: told %d times; the log:\n%s", visit, got, s.log())
		}
		<-time.After(3500 * time.Millisecond * lab.Slowness)
		compare()
	}
	if got := told(); got < 2 || got > 3 {
		t.Errorf("three visits were told of %d times", got)
	}
}

// The wall clock may be set by hours, as by the first answer of a time server.
func TestTheWallClockMayJump(t *testing.T) {
	if os.Getenv(builds) == "" {
		t.Skip("sets the machine's clock: only guests of make test-kernels run it") // whatever REQUIRE_KERNEL says
	}
	for _, enforce := range []string{"xdp", "iptables"} {
		if enforce == "xdp" && !lab.HasBPF() {
			t.Log("this kernel has no bpf(2): iptables alone")
			continue
		}
		t.Run(enforce, func(t *testing.T) {
			s := newSite(t, nativeMTU)
			s.configure(keys{"enforce": enforce})
			s.start()
			s.fail(attacker, 3)
			s.awaitBan(attacker)
			s.fail(bystander, 3) // who sends nothing until all is over
			s.awaitBan(bystander)
			for _, restart := range []bool{false, true} {
				if restart {
					s.crash()
					s.start()
				}
				for _, jump := range []time.Duration{5 * time.Hour, -5 * time.Hour} {
					now := unix.NsecToTimeval(time.Now().Add(jump).UnixNano())
					must(t, unix.Settimeofday(&now))
					<-time.After(3 * time.Second) // the daemon looks at ends every second
					s.wantDrop(attacker)
					if left := time.Until(s.awaitBan(attacker).End); left < 50*time.Minute || left > 61*time.Minute {
						t.Errorf("after a jump of %v, restarted %v: %v are left of an hour", jump, restart, left)
					}
					reply, err := s.client.Verify(t.Context(), control.VerifyRequest{})
					must(t, err)
					if c := *reply.Compared; c.Enforced != 2 || c.Repaired != 0 {
						t.Errorf("after a jump of %v, restarted %v: compared %+v", jump, restart, c)
					}
				}
			}
			s.wantDrop(bystander)
		})
	}
}

// More logs than descriptors leave some for the socket and for whoever is started.
func TestManyLogsAndFewDescriptors(t *testing.T) {
	for _, enforce := range []string{"xdp", "iptables"} {
		t.Run(enforce, func(t *testing.T) {
			s := newSite(t, nativeMTU)
			for i := range 300 {
				must(t, os.WriteFile(s.path(fmt.Sprintf("z%d.log", i)), nil, 0o600))
			}
			s.configure(keys{"enforce": enforce, "jails": "{sshd: {enabled: true, filter: sshd, logpath: [" + s.path("auth.log") + ", " + s.path("z*.log") + "]}}"})
			program := s.xdpban()
			s.startAs(exec.Command("sh", append([]string{"-c", `ulimit -n 200; exec "$@"`, "sh"}, program.Args...)...))
			s.fail(attacker, 3)
			s.awaitBan(attacker)
			s.ban(control.BanRequest{Addresses: addresses(byHand)})
			s.wantDrop(attacker)
			waiting := 0
			for _, log := range s.sshd().Logs {
				if strings.Contains(log.Problem, "100 log files are open, which is as many as can be") {
					waiting++
				}
			}
			if waiting != 201 {
				t.Errorf("%d logs wait, want 201: %+v", waiting, s.sshd().Logs)
			}
			must(t, s.running.Process.Signal(syscall.SIGTERM))
			if code, stderr := s.exit(s.running); code != 0 || stderr != "" {
				t.Errorf("exit code %d, on stderr: %s", code, stderr)
			}
		})
	}
}
