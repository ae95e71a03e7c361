package lab_test

import (
	"net"
	"os"
	"testing"
	"time"

	"xdpban/internal/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

func TestPacketsCrossACable(t *testing.T) {
	hosts := lab.Hosts(t, 2)
	a, b := hosts[0], hosts[1]
	check(t, lab.Connect(a, "left", b, "right"))
	check(t, a.Address("left", "192.0.2.1/24", "2001:db8::1/64"))
	check(t, b.Address("right", "192.0.2.2/24", "2001:db8::2/64"))

	for _, address := range []string{"192.0.2.1", "2001:db8::1"} {
		var server net.PacketConn
		check(t, a.Do(func() (err error) {
			server, err = net.ListenPacket("udp", net.JoinHostPort(address, "5060"))
			return err
		}))
		defer server.Close()
		check(t, b.Do(func() error {
			client, err := net.Dial("udp", net.JoinHostPort(address, "5060"))
			if err != nil {
				return err
			}
			defer client.Close()
			_, err = client.Write([]byte("hello"))
			return err
		}))
		check(t, server.SetReadDeadline(time.Now().Add(5*time.Second)))
		heard := make([]byte, 16)
		n, _, err := server.ReadFrom(heard)
		check(t, err)
		if got := string(heard[:n]); got != "hello" {
			t.Errorf("over %s: heard %q", address, got)
		}
	}
}

func TestHostsDoNotSeeEachOther(t *testing.T) {
	hosts := lab.Hosts(t, 2)
	check(t, lab.Connect(hosts[0], "left", hosts[1], "right"))
	for i, other := range []string{"right", "left"} {
		if _, err := hosts[i].Links().LinkByName(other); err == nil {
			t.Errorf("host %d sees %s of the other one", i, other)
		}
	}
}

func TestDevIsPrivate(t *testing.T) {
	lab.Require(t)
	if _, err := os.Stat("/dev/null"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat("/dev/vda"); err == nil {
		t.Error("the disks of the host are in /dev")
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
