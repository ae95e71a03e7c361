package daemon

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"xdpban/internal/lab"
)

// needed finds a program of a Debian package, or skips the test as lab.Require does.
func needed(t *testing.T, pkg, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("REQUIRE_KERNEL") == "1" {
		t.Fatalf("%v: apt-get install %s", err, pkg)
	}
	t.Skipf("%v: apt-get install %s", err, pkg)
	return ""
}

// serveSSH starts a real sshd on the server. It logs by syslog to the jail's log.
func (s *site) serveSSH(sshd string) {
	s.Helper()
	syslog, err := lab.StartSyslog(s.path("auth.log"), "server")
	must(s, err)
	s.Cleanup(func() { must(s, syslog.Close()) })
	must(s, os.MkdirAll("/run/sshd", 0o755)) // where it locks itself in
	must(s, s.server.Run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", s.path("hostkey")))
	config := fmt.Sprintf("HostKey %s\nPidFile none\nUsePAM no\nPasswordAuthentication yes\nPermitRootLogin yes\nUseDNS no\n", s.path("hostkey"))
	must(s, os.WriteFile(s.path("sshd_config"), []byte(config), 0o600))
	s.launch(exec.Command(sshd, "-D", "-f", s.path("sshd_config")))
	s.await("sshd", func() bool { return s.greeting(bystander, 2*time.Second) == nil })
}

// greeting connects to sshd from one of the peer's addresses, if it can within limit, and waits for its first words.
func (s *site) greeting(source string, limit time.Duration) error {
	return s.peer.Do(func() error {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: limit}
		conn, err := dialer.DialContext(s.Context(), "tcp", net.JoinHostPort(server, "22"))
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		words, err := bufio.NewReader(conn).ReadString('\n')
		if err == nil && !strings.HasPrefix(words, "SSH-2.0-") {
			return fmt.Errorf("greeted by %q", words)
		}
		return err
	})
}

// guess tries a wrong password for root, as an attacker's ssh would.
func (s *site) guess(source, password string) error {
	return s.peer.Run("sshpass", "-p", password, "ssh", "-F", "/dev/null", "-b", source,
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "NumberOfPasswordPrompts=1",
		"-o", "PreferredAuthentications=password", "-o", "PubkeyAuthentication=no", "root@"+server, "true")
}

func TestWrongPasswordsAtSSHDLeadToDrops(t *testing.T) {
	sshd := needed(t, "openssh-server", "/usr/sbin/sshd")
	needed(t, "openssh-client", "ssh")
	needed(t, "sshpass", "sshpass")
	s := newSite(t, nativeMTU)
	// Later versions of sshd shut out by themselves who fails three times in a row.
	s.configure(keys{"defaults": "{maxretry: 2}"})
	s.start()
	s.serveSSH(sshd)
	must(t, s.greeting(attacker, patience))

	for _, password := range []string{"123456", "letmein"} {
		if err := s.guess(attacker, password); err == nil {
			t.Fatalf("sshd let %q in", password)
		}
	}
	b := s.awaitBan(attacker)
	if b.Prefix != netip.MustParsePrefix(attacker+"/32") || b.Jail != "sshd" || b.Reason != "failed-password" {
		t.Errorf("ban: got %+v", b)
	}
	var timeout net.Error
	if err := s.greeting(attacker, 2*time.Second); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("connect from the attacker: got %v, want silence", err)
	}
	s.wantDrop(attacker)
	must(t, s.greeting(bystander, patience))
	if err := s.guess(bystander, "guest"); err == nil || !strings.Contains(err.Error(), "Permission denied") {
		t.Errorf("one wrong password from elsewhere: got %v, want an answer of sshd", err)
	}
}
