package daemon

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ours has a directory of the lab's own, with the same content, in the place of the host's.
func (s *site) ours(path string) {
	s.Helper()
	own := s.path(strings.ReplaceAll(path, "/", "_"))
	must(s, exec.Command("cp", "-r", path, own).Run())
	must(s, unix.Mount(own, path, "", unix.MS_BIND, ""))
	s.Cleanup(func() { must(s, unix.Unmount(path, unix.MNT_DETACH)) })
}

// guarded starts a daemon that enforces by iptables, with a ban in force.
func guarded(t *testing.T) *site {
	t.Helper()
	s := newSite(t, nativeMTU)
	s.configure(keys{"enforce": "iptables"})
	s.start()
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	s.fail(attacker6, 3)
	s.awaitBan(attacker6)
	s.wantDrop(attacker, attacker6)
	return s
}

// survives checks that the bans are in force after a command of another firewall, once the
// daemon has had the time to put the chain back.
func (s *site) survives(name string, args ...string) {
	s.Helper()
	before, begin := s.status().Chain.Mended, time.Now()
	s.on(name, args...)
	changed := time.Now()
	s.await("the chain to be first", func() bool {
		return s.chainIsFirst("iptables") && s.chainIsFirst("ip6tables")
	})
	s.wantDrop(attacker, attacker6)
	s.Logf("%s %s: took %v; the chain was put back %d times, the last time %v after it", name, strings.Join(args, " "),
		changed.Sub(begin).Round(time.Millisecond), s.status().Chain.Mended-before, time.Since(changed).Round(time.Millisecond))
}

func (s *site) chainIsFirst(iptables string) bool {
	s.Helper()
	for line := range strings.Lines(s.on(iptables, "-S", "INPUT")) {
		if strings.HasPrefix(line, "-A INPUT ") {
			return line == "-A INPUT -j OFFENDINGIPS\n"
		}
	}
	return false
}

func TestBansSurviveUFW(t *testing.T) {
	ufw := needed(t, "ufw", "ufw")
	s := guarded(t)
	for _, dir := range []string{"/etc/ufw", "/etc/default"} {
		s.ours(dir)
	}
	// Sysctls that no namespace has of its own are not to be touched.
	settings, err := os.ReadFile("/etc/default/ufw")
	must(t, err)
	must(t, os.WriteFile("/etc/default/ufw", append(settings, "\nIPT_SYSCTL=\nIPT_MODULES=\n"...), 0o644))
	s.on(ufw, "allow", fmt.Sprintf("%d/udp", port))
	s.survives(ufw, "--force", "enable")
	s.survives(ufw, "reload")
	s.wantPass(bystander, bystander6)
	s.survives(ufw, "disable")
	s.survives(ufw, "--force", "reset")
}

func TestBansSurviveFirewalld(t *testing.T) {
	if _, err := exec.LookPath("firewall-cmd"); err != nil {
		t.Skip("firewalld is not installed, and no test installs it: it would start with the next boot") // whatever REQUIRE_KERNEL says
	}
	for _, backend := range []string{"nftables", "iptables"} {
		t.Run(backend, func(t *testing.T) {
			s := guarded(t)
			s.ours("/etc/firewalld")
			conf := filepath.Join("/etc/firewalld", "firewalld.conf")
			text, err := os.ReadFile(conf)
			must(t, err)
			other := regexp.MustCompile(`(?m)^FirewallBackend=.*$`)
			if !other.Match(text) {
				t.Fatalf("%s names no FirewallBackend:\n%s", conf, text)
			}
			must(t, os.WriteFile(conf, other.ReplaceAll(text, []byte("FirewallBackend="+backend)), 0o644))
			s.on("firewall-offline-cmd", fmt.Sprintf("--add-port=%d/udp", port))
			s.bus()
			s.launch(exec.Command("firewalld", "--nofork", "--nopid", "--log-file", s.path("firewalld.log")))
			s.await("firewalld", func() bool { return exec.Command("firewall-cmd", "--state").Run() == nil })
			s.survives("firewall-cmd", "--reload")
			s.wantPass(bystander, bystander6)
			s.survives("firewall-cmd", "--complete-reload")
		})
	}
}

// bus starts a message bus of the lab's own: it is in the lab's own /run.
func (s *site) bus() {
	s.Helper()
	must(s, os.MkdirAll("/run/dbus", 0o755))
	s.launch(exec.Command("dbus-daemon", "--system", "--nofork", "--nopidfile"))
	s.await("the message bus", func() bool {
		_, err := os.Stat("/run/dbus/system_bus_socket")
		return err == nil
	})
	s.Cleanup(func() { must(s, os.RemoveAll("/run/dbus")) })
}
