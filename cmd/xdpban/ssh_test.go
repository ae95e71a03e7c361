package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A process of a made /proc.
type process struct{ environ, parent string }

func fakeProc(t *testing.T, processes map[string]process) string {
	t.Helper()
	proc := t.TempDir()
	for pid, p := range processes {
		dir := filepath.Join(proc, pid)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		files := map[string]string{"status": "Name:\tx\nPPid:\t" + p.parent + "\nUid:\t0\n", "environ": p.environ}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return proc
}

func TestWhoeverTypesIsFoundBehindSudo(t *testing.T) {
	const from7 = "SSH_CONNECTION=192.0.2.7 50000 198.51.100.1 22"
	for _, c := range []struct {
		name      string
		own       string // SSH_CONNECTION of xdpban itself
		processes map[string]process
		want      string // empty: nobody
	}{
		{"in its own environment", "192.0.2.9 1 198.51.100.1 22", nil, "192.0.2.9"},
		{"mapped", "::ffff:192.0.2.9 1 ::ffff:198.51.100.1 22", nil, "192.0.2.9"},
		{"with a zone", "fe80::7%eth0 1 fe80::1%eth0 22", nil, "fe80::7"},
		{"in the parent's", "", map[string]process{
			"self": {"PATH=/bin\x00", "40"}, "40": {"PATH=/bin\x00" + from7 + "\x00HOME=/\x00", "1"}, "1": {"", "0"},
		}, "192.0.2.7"},
		{"in the grandparent's", "UNKNOWN 65535 UNKNOWN 65535", map[string]process{
			"self": {"", "40"}, "40": {"SSH_CONNECTION=\x00XSSH_CONNECTION=192.0.2.8 1\x00", "30"}, "30": {from7, "1"},
		}, "192.0.2.7"},
		{"nowhere", "", map[string]process{"self": {"", "40"}, "40": {"", "1"}, "1": {"", "0"}}, ""},
		{"behind a parent that has gone", "", map[string]process{"self": {"", "40"}}, ""},
		{"among parents that are their own", "", map[string]process{"self": {"", "40"}, "40": {"", "40"}}, ""},
	} {
		environ := func(name string) string {
			if name != "SSH_CONNECTION" {
				t.Errorf("%s: asked for %s", c.name, name)
			}
			return c.own
		}
		var want []netip.Addr
		if c.want != "" {
			want = []netip.Addr{netip.MustParseAddr(c.want)}
		}
		if got := sshPeers(environ, fakeProc(t, c.processes)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
	}
}
