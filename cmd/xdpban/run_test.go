package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// systemctl reload sends it right behind systemctl start, as the unit is of type simple.
func TestAHangupWhileTheDaemonStartsIsAReload(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "xdpban.yaml")
	text := fmt.Sprintf("interfaces: [lo]\nenforce: observe\nsocket: %s/sock\nlogtarget: %s/none/log\njails: {}\n", dir, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("xdpban", "run", "-c", config)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var told strings.Builder
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		fmt.Fprintln(&told, lines.Text())
		switch {
		case strings.Contains(lines.Text(), "logging to stderr instead"): // before anything is taken
			cmd.Process.Signal(unix.SIGHUP)
		case strings.Contains(lines.Text(), "INFO  reloaded "):
			cmd.Process.Signal(unix.SIGTERM)
		}
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(told.String(), "INFO  reloaded ") {
		t.Errorf("ended with %v:\n%s", err, told.String())
	}
}
