package demo

import (
	"os"
	"path/filepath"
	"testing"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDatagramsThatReachedTheServer(t *testing.T) {
	const snmp = "Ip: Forwarding DefaultTTL\nIp: 2 64\n" +
		"Udp: InDatagrams NoPorts InErrors OutDatagrams\nUdp: 120 3 0 7\n" +
		"UdpLite: InDatagrams NoPorts InErrors OutDatagrams\nUdpLite: 9 9 9 9\n"
	for _, c := range []struct {
		name, text string
		want       uint64
		fails      bool
	}{
		{"for a listener and for nobody", snmp, 123, false},
		{"no UDP", "Ip: Forwarding\nIp: 2\n", 0, true},
		{"empty", "", 0, true},
	} {
		got, err := udpReceived(write(t, c.text))
		if got != c.want || (err != nil) != c.fails {
			t.Errorf("%s: %d, %v; want %d", c.name, got, err, c.want)
		}
	}
	if _, err := udpReceived(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file is no error")
	}
}

func TestEvidenceIsAWholeLine(t *testing.T) {
	for _, c := range []struct{ name, log, want string }{
		{"the first", "a\nb BLOCK 1\nc BLOCK 2\n", "b BLOCK 1\n"},
		{"still being written", "a\nb BLOCK 1", ""},
		{"none", "a\n", ""},
	} {
		if got := firstLine(write(t, c.log), "BLOCK"); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := firstLine(filepath.Join(t.TempDir(), "none"), "BLOCK"); got != "" {
		t.Errorf("of a missing log: %q", got)
	}
}

func TestHeaderOfARequest(t *testing.T) {
	const request = "REGISTER sip:h SIP/2.0\r\nFrom: <sip:1@203.0.113.9>\r\nTo: x\r\n\r\n"
	for name, want := range map[string]string{"From": "<sip:1@203.0.113.9>", "To": "x", "Via": ""} {
		if got := header(request, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
