package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// generations of parents are asked at most: while they are, pids may come to mean others.
const generations = 100

// sshPeers is where whoever types this is logged in from. sshd says it in SSH_CONNECTION,
// which sudo takes away, so the environments of the parent processes in proc are asked too.
func sshPeers(environ func(string) string, proc string) []netip.Addr {
	if addr, ok := peer(environ("SSH_CONNECTION")); ok {
		return []netip.Addr{addr}
	}
	pid := "self"
	for range generations {
		text, err := os.ReadFile(filepath.Join(proc, pid, "environ"))
		if err != nil {
			return nil // not ours to look at: whoever may do that is not behind sudo
		}
		for entry := range strings.SplitSeq(string(text), "\x00") {
			value, ok := strings.CutPrefix(entry, "SSH_CONNECTION=")
			if !ok {
				continue
			}
			if addr, ok := peer(value); ok {
				return []netip.Addr{addr}
			}
		}
		if pid = parent(filepath.Join(proc, pid)); pid == "" || pid == "0" {
			return nil
		}
	}
	return nil
}

// peer is the client in "CLIENT PORT SERVER PORT".
func peer(connection string) (netip.Addr, bool) {
	client, _, _ := strings.Cut(connection, " ")
	addr, err := netip.ParseAddr(client)
	return addr.Unmap().WithZone(""), err == nil
}

// parent is the process that started the one whose directory is dir; empty if unknown.
func parent(dir string) string {
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return ""
	}
	for line := range strings.SplitSeq(string(status), "\n") {
		if pid, ok := strings.CutPrefix(line, "PPid:"); ok {
			return strings.TrimSpace(pid)
		}
	}
	return ""
}
