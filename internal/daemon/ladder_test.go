package daemon

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xdpban/internal/control"
	"xdpban/internal/lab"
)

// on runs a command on the server and returns what it prints.
func (s *site) on(name string, args ...string) string {
	s.Helper()
	var out []byte
	must(s, s.server.Do(func() (err error) {
		out, err = exec.Command(name, args...).CombinedOutput()
		if err != nil {
			s.Logf("%s %q: %s", name, args, out)
		}
		return err
	}))
	return string(out)
}

// wantReason checks that status gives a reason for the mode of an interface.
func (s *site) wantReason(name, reason string) {
	s.Helper()
	for _, i := range s.status().Interfaces {
		if i.Name == name && !strings.Contains(strings.Join(i.Reasons, "\n"), reason) {
			s.Errorf("%s is in mode %s because of %q, want %q among it", name, i.Mode, i.Reasons, reason)
		}
	}
}

func TestAnInterfaceGoesDownTheLadderAndUpAgain(t *testing.T) {
	s := newSite(t, nativeMTU)
	other := s.occupy()
	s.start()
	if got := s.interfaces(); !maps.Equal(got, map[string]string{"eth0": "iptables"}) {
		t.Fatalf("interfaces: got %v", got)
	}
	s.wantReason("eth0", `occupied by another XDP program: "stranger"`)
	s.fail(attacker, 3)
	before := s.awaitBan(attacker)
	s.fail(attacker6, 3)
	s.awaitBan(attacker6)
	s.wantDrop(attacker, attacker6, neighbour6)
	s.wantPass(bystander, bystander6)

	a := s.attack(pace)
	a.goOn(100)
	must(t, other.Close())
	must(t, s.server.Address("eth0", "192.0.2.9/24")) // news, at which it looks again
	s.awaitInterfaces("eth0 to do XDP", map[string]string{"eth0": "native"})
	a.goOn(100)
	if sent, passed := a.end(); passed != 0 {
		t.Errorf("%d of %d packets passed while eth0 went up the ladder", passed, sent)
	}
	s.wantDrop(attacker, attacker6)
	if left := s.on("iptables", "-S") + s.on("ip6tables", "-S") + s.on("ipset", "list", "-n"); strings.Contains(left, "OFFENDINGIPS") || strings.Contains(left, "xdpban") {
		t.Errorf("the chain is left:\n%s", left)
	}
	if after := s.awaitBan(attacker); after.Jail != before.Jail || after.Reason != before.Reason {
		t.Errorf("ban %+v became %+v", before, after)
	}
}

func TestAHostWithBothRungsHasEveryBanInBoth(t *testing.T) {
	s := newSite(t, nativeMTU)
	must(t, lab.Connect(s.server, "eth1", s.peer, "eth1"))
	must(t, s.server.Address("eth1", "192.0.2.1/24"))
	s.configure(keys{"interfaces": "[eth0, eth1]", "defaults": "{bantime: 6s, findtime: 10m, maxretry: 3, quiettime: 4s}"})
	s.start()
	s.fail(bystander, 3)
	s.awaitBan(bystander) // before there is a chain
	// Another program comes to eth1, as from an upgrade of something else.
	eth1 := s.unplugAndOccupy("eth1")
	s.awaitInterfaces("eth1 to be guarded by iptables", map[string]string{"eth0": "native", "eth1": "iptables"})
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	s.fail(attacker6, 3)
	s.awaitBan(attacker6)
	for _, want := range []string{attacker, attacker6} {
		reply, err := s.client.Verify(t.Context(), control.VerifyRequest{Address: netip.MustParseAddr(want)})
		must(t, err)
		got := make(map[string]string)
		for _, v := range reply.Verdicts {
			got[v.Interface+" "+v.Mode] = v.Verdict
		}
		if !maps.Equal(got, map[string]string{"eth0 native": "DROP", "eth1 iptables": "DROP"}) {
			t.Errorf("%s: %v", want, got)
		}
	}
	// Packets that XDP alone sees keep the ban of iptables in force.
	a := s.attack(10 * time.Millisecond)
	s.awaitWithin(2*patience, "the ban in both to be past its end", func() bool { return a.count() > 800 })
	if list := s.on("ipset", "list", "xdpban4-32-4-life"); !strings.Contains(list, attacker) {
		t.Errorf("the chain has lost the ban of %s:\n%s", attacker, list)
	}
	if sent, passed := a.end(); passed != 0 {
		t.Errorf("%d of %d packets passed", passed, sent)
	}
	must(t, eth1.Close())
}

// unplugAndOccupy has somebody else's program on the interface name, which was ours.
func (s *site) unplugAndOccupy(name string) interface{ Close() error } {
	s.Helper()
	link, err := s.server.Links().LinkByName(name)
	must(s, err)
	must(s, s.server.Links().LinkDel(link))
	s.awaitInterfaces(name+" to be missed", map[string]string{"eth0": "native"})
	must(s, lab.Connect(s.server, "spare", s.peer, name))
	other := s.occupyAt("spare")
	spare, err := s.server.Links().LinkByName("spare")
	must(s, err)
	must(s, s.server.Links().LinkSetDown(spare))
	must(s, s.server.Links().LinkSetName(spare, name))
	must(s, s.server.Links().LinkSetUp(spare))
	return other
}

// A prefix that begins with 0.0.0.0, as lists of senseless sources have, is nothing that sets can hold. It keeps
// no other ban out of the chain, and no daemon from its start.
func TestABanThatTheChainCannotHoldKeepsNoOtherOut(t *testing.T) {
	s := newSite(t, nativeMTU)
	must(t, lab.Connect(s.server, "eth1", s.peer, "eth1"))
	must(t, s.server.Address("eth1", "192.0.2.1/24"))
	s.configure(keys{"interfaces": "[eth0, eth1]"})
	s.start()
	s.fail(bystander, 3)
	s.awaitBan(bystander) // before there is a chain
	s.ban(control.BanRequest{Prefixes: prefixes("0.0.0.0/8")})
	eth1 := s.unplugAndOccupy("eth1")
	s.awaitInterfaces("eth1 to be guarded by iptables", map[string]string{"eth0": "native", "eth1": "iptables"})
	s.ban(control.BanRequest{Prefixes: prefixes("0.0.0.0/8", attacker+"/32")})
	inSets := func(source string) {
		t.Helper()
		if list := s.on("ipset", "list"); !strings.Contains(list, source) {
			t.Errorf("the chain has no ban of %s:\n%s", source, list)
		}
	}
	inSets(bystander)
	inSets(attacker)
	s.await("the fault", func() bool { return strings.Contains(strings.Join(s.status().Faults, "\n"), "begins with 0.0.0.0") })
	s.unban(control.UnbanRequest{Prefixes: prefixes("0.0.0.0/8")})
	s.await("the end of the fault", func() bool { return len(s.status().Faults) == 0 })
	must(t, eth1.Close())

	s.ban(control.BanRequest{Prefixes: prefixes("0.0.0.0/8")})
	s.crash()
	s.configure(keys{"enforce": "iptables"})
	s.start()
	s.wantDrop(attacker, bystander)
	if left := s.banOf("0.0.0.1"); left != nil || !strings.Contains(s.log(), "a ban ends with XDP") {
		t.Errorf("left %v; the log:\n%s", left, s.log())
	}
}

func TestTheLadderIsAsConfigured(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.start()
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	a := s.attack(pace)
	for _, step := range []struct {
		enforce, mode string
	}{{"iptables", "iptables"}, {"auto", "native"}, {"iptables", "iptables"}, {"xdp", "native"}} {
		a.goOn(100)
		s.crash()
		s.configure(keys{"enforce": step.enforce})
		s.start()
		if got := s.interfaces(); !maps.Equal(got, map[string]string{"eth0": step.mode}) {
			t.Errorf("enforce: %s: interfaces %v", step.enforce, got)
		}
		eth0, err := s.server.Links().LinkByName("eth0")
		must(t, err)
		xdp := eth0.Attrs().Xdp
		if on := xdp != nil && xdp.Attached; on != (step.mode == "native") {
			t.Errorf("enforce: %s: a program on eth0: %v", step.enforce, on)
		}
		if chain := strings.Contains(s.on("iptables", "-S"), "OFFENDINGIPS"); chain != (step.mode == "iptables") {
			t.Errorf("enforce: %s: a chain: %v", step.enforce, chain)
		}
		if b := s.awaitBan(attacker); b.Jail != "sshd" || b.Reason != "failed-password" {
			t.Errorf("enforce: %s: ban %+v", step.enforce, b)
		}
	}
	if sent, passed := a.end(); passed != 0 {
		t.Errorf("%d of %d packets passed", passed, sent)
	}
}

func TestAKernelWithoutBPFEnforcesByIPTables(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.startBy(s.server.StartWithoutBPF, s.xdpban())
	if got := s.interfaces(); !maps.Equal(got, map[string]string{"eth0": "iptables"}) {
		t.Fatalf("interfaces: got %v", got)
	}
	s.wantReason("eth0", "function not implemented")
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	s.wantDrop(attacker)
	s.unban(control.UnbanRequest{Addresses: addresses(attacker)})
	s.wantPass(attacker)
	s.crash()
	s.configure(keys{"enforce": "xdp"})
	cmd := s.xdpban()
	p := s.launchBy(s.server.StartWithoutBPF, cmd)
	if code, stderr := s.exit(p); code != 1 || !strings.Contains(stderr, "function not implemented") || !strings.Contains(stderr, "hint: ") {
		t.Errorf("enforce: xdp: exit code %d, %q", code, stderr)
	}
}

func TestNoRungAtAllIsAnError(t *testing.T) {
	s := newSite(t, nativeMTU)
	defer s.occupy().Close()
	cmd := s.xdpban()
	cmd.Env = append(os.Environ(), "PATH=/nowhere")
	code, stderr := s.exit(s.launch(cmd))
	if code != 1 || !strings.Contains(stderr, "bans can be enforced nowhere") || !strings.Contains(stderr, "stranger") ||
		!strings.Contains(stderr, "find iptables: it is not installed") || !strings.Contains(stderr, "hint: xdpban doctor") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	s.wantPass(attacker)
	s.configure(keys{"enforce": "observe"})
	s.start()
}

func TestAWipedChainIsBackAtOnce(t *testing.T) {
	for _, kind := range []string{"nft", "legacy"} {
		t.Run(kind, func(t *testing.T) {
			s := newSite(t, nativeMTU)
			iptables := "iptables-" + kind
			s.on(iptables, "-A", "INPUT", "-s", "192.0.2.1", "-j", "ACCEPT") // the kind in use
			s.configure(keys{"enforce": "iptables"})
			s.start()
			s.fail(attacker, 3)
			s.awaitBan(attacker)
			s.wantDrop(attacker)
			wipes := [][]string{{iptables, "-F"}, {"sh", "-c", iptables + " -F; " + iptables + " -X || true"}, {iptables, "-I", "INPUT", "-j", "ACCEPT"}}
			if kind == "nft" {
				wipes = append(wipes, []string{"nft", "flush", "ruleset"})
			}
			for _, wipe := range wipes {
				before, begin := s.status().Chain.Mended, time.Now()
				s.on(wipe[0], wipe[1:]...)
				s.await("the chain to be back", func() bool {
					return s.status().Chain.Mended > before && s.chainIsFirst(iptables)
				})
				t.Logf("%s: %q: back after %v", kind, wipe, time.Since(begin).Round(time.Millisecond))
				s.wantDrop(attacker)
			}
			if chain := s.status().Chain; chain.Last == "" || chain.At.IsZero() {
				t.Errorf("status says %+v", chain)
			}
		})
	}
}

func TestWhatTheKernelLostIsPutBack(t *testing.T) {
	for _, enforce := range []string{"xdp", "iptables"} {
		t.Run(enforce, func(t *testing.T) {
			s := newSite(t, nativeMTU)
			s.configure(keys{"enforce": enforce})
			s.start()
			s.fail(attacker, 3)
			s.awaitBan(attacker)
			s.wantDrop(attacker)
			// The next comparison is ten seconds away, and does not put back what Verify is to find.
			s.await("a comparison", func() bool { return s.status().Bans.Enforced == 1 })
			if enforce == "xdp" {
				s.evict(netip.MustParseAddr(attacker))
			} else {
				s.on("ipset", "del", "xdpban4-32-3600-life", attacker)
				s.on("ipset", "add", "xdpban4-32-3600-base", "192.0.2.99", "timeout", "60")
				s.on("ipset", "add", "xdpban4-32-3600-life", "192.0.2.99")
			}
			s.wantPass(attacker)
			reply, err := s.client.Verify(t.Context(), control.VerifyRequest{})
			must(t, err)
			want := control.Comparison{Wanted: 1, Enforced: 1, Repaired: 1, Unknown: []netip.Prefix{}, Mended: []string{}}
			if enforce == "xdp" {
				want.Evicted = 1
			} else {
				want.Unknown = prefixes("192.0.2.99/32")
			}
			got := *reply.Compared
			if !slices.Equal(got.Unknown, want.Unknown) || got.Wanted != 1 || got.Enforced != 1 || got.Repaired != 1 || got.Evicted != want.Evicted {
				t.Errorf("got %+v, want %+v", got, want)
			}
			s.wantDrop(attacker)
			if use := s.status().Bans; use.Repaired != 1 || use.Enforced != 1 || use.Unknown != len(want.Unknown) {
				t.Errorf("status: %+v", use)
			}
		})
	}
}

func TestTheDoctorSaysWhatAKernelWithoutBPFCosts(t *testing.T) {
	s := newSite(t, nativeMTU)
	path, err := program()
	must(t, err)
	for _, test := range []struct {
		name  string
		start func(*exec.Cmd) error
		want  string
	}{
		{"bpf is there", s.server.Start, "the kernel takes the program and its maps"},
		{"bpf is away", s.server.StartWithoutBPF, "function not implemented"},
	} {
		out := new(strings.Builder)
		cmd := exec.Command(path, "doctor", "-c", s.path("xdpban.yaml"))
		cmd.Stdout = out
		must(t, test.start(cmd))
		must(t, cmd.Wait())
		t.Logf("%s:\n%s", test.name, out)
		if !strings.Contains(out.String(), test.want) || !strings.Contains(out.String(), "IPv4: ipset by iptables-nft") {
			t.Errorf("%s: want %q", test.name, test.want)
		}
	}
}

// Whatever forbids XDP leads to iptables, and is told wherever somebody may look.
func TestEveryRefusalIsTold(t *testing.T) {
	const lruHash = 9 // BPF_MAP_TYPE_LRU_HASH
	for _, test := range []struct {
		name    string
		kernel  lab.Kernel
		through []string // what the program is started by
		reason  string
	}{
		{"no LRU maps", lab.WithoutMap(lruHash), nil, "make map bans: "},
		{"no maps for this process", lab.Without(lab.MapCreate, unix.EPERM), nil, "operation not permitted"},
		{"little locked memory, before 5.11", lab.CountingMemlock,
			[]string{"prlimit", "--memlock=65536:65536", "setpriv", "--bounding-set=-sys_resource", "--"},
			"lift the memory lock limit: operation not permitted: this kernel counts maps as locked memory"},
		{"the verifier refuses", lab.Without(lab.ProgLoad, unix.EACCES), nil, "permission denied"},
		{"the verifier finds it invalid", lab.Without(lab.ProgLoad, unix.EINVAL), nil, "invalid argument"},
		{"lockdown", func(lab.Call) unix.Errno { return unix.EPERM }, nil, "operation not permitted"},
		{"links are forbidden", lab.Without(lab.LinkCreate, unix.EPERM), nil, "operation not permitted"},
		{"no bpffs, and none to be mounted", nil,
			[]string{"unshare", "--mount", "sh", "-c", `while umount /sys/fs/bpf; do :; done 2> /dev/null; exec setpriv --bounding-set=-sys_admin -- "$@"`, "sh"},
			"mount bpffs on /sys/fs/bpf: operation not permitted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, nativeMTU)
			s.kernel = test.kernel
			s.startAs(through(test.through, s.xdpban()))
			if got := s.interfaces(); !maps.Equal(got, map[string]string{"eth0": "iptables"}) {
				t.Errorf("interfaces: %v", got)
			}
			s.wantReason("eth0", test.reason)
			s.fail(attacker, 3)
			s.awaitBan(attacker)
			s.wantDrop(attacker)
			if log := s.log(); !strings.Contains(log, test.reason) {
				t.Errorf("the log says:\n%s", log)
			}
			for _, look := range [][]string{{"status"}, {"status", "--json"}, {"doctor"}, {"doctor", "--json"}} {
				cmd := through(test.through, exec.Command(s.xdpban().Path, append(look, "-c", s.path("xdpban.yaml"))...))
				if got := s.output(cmd); !strings.Contains(got, test.reason) {
					t.Errorf("%q says:\n%s", look, got)
				}
			}
		})
	}
}

// Kernels before 5.11 count maps as locked memory. The daemon raises its own limit, which takes
// CAP_SYS_RESOURCE; without it iptables enforces.
func TestLittleLockedMemory(t *testing.T) {
	counting := lab.Kernel(lab.CountingMemlock)
	if lab.CountsMemlock() {
		counting = func(lab.Call) unix.Errno { return 0 }
	}
	for _, test := range []struct {
		name string
		may  bool
	}{
		{"raised", lab.May(unix.CAP_SYS_RESOURCE)},
		{"refused", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, nativeMTU)
			s.startBy(func(cmd *exec.Cmd) error {
				return s.server.DoOn(counting, func() error {
					if !test.may {
						if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_RESOURCE, 0, 0, 0); err != nil {
							return err
						}
					}
					return cmd.Start()
				})
			}, through([]string{"sh", "-c", `ulimit -l 64; exec "$@"`, "sh"}, s.xdpban()))
			mode, limit := "iptables", "65536"
			if test.may {
				mode, limit = "native", "unlimited"
			}
			if got := s.interfaces()["eth0"]; got != mode {
				t.Errorf("mode %s, want %s: %v", got, mode, s.status().Interfaces)
			}
			if !test.may {
				s.wantReason("eth0", "this kernel counts maps as locked memory")
			}
			limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", s.running.Process.Pid))
			must(t, err)
			if _, locked, _ := strings.Cut(string(limits), "Max locked memory"); strings.Fields(locked)[0] != limit {
				t.Errorf("limits, want %s of locked memory:\n%s", limit, limits)
			}
			s.fail(attacker, 3)
			s.awaitBan(attacker)
			s.wantDrop(attacker)
		})
	}
}

// through is cmd started by another program.
func through(by []string, cmd *exec.Cmd) *exec.Cmd {
	if len(by) == 0 {
		return cmd
	}
	return exec.Command(by[0], append(by[1:len(by):len(by)], cmd.Args...)...)
}

// output is what cmd prints on the server.
func (s *site) output(cmd *exec.Cmd) string {
	s.Helper()
	out := new(strings.Builder)
	cmd.Stdout, cmd.Stderr = out, out
	must(s, s.begin(cmd))
	cmd.Wait() //nolint:errcheck // the doctor ends with 1 where it found something
	return out.String()
}
