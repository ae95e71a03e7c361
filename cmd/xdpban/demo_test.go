package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"xdpban/internal/lab"
)

// The sentences that every demo must come to, in their order.
var story = []string{
	`(?m)^ +\d+\.\ds  the XDP program is on sip0, mode (native|generic)$`,
	`banned 198\.51\.100\.23: jail \w+, rule [\w-]+, until \d\d:\d\d:\d\d`,
	`[1-9]\d* packets/s dropped, +[1-9]\d* in all; the ban now ends at \d\d:\d\d:\d\d`,
	`no daemon: the scanner sent [1-9]\d* packets, 0 of them reached the server`,
	`it found the ban of 198\.51\.100\.23 in the kernel: [1-9]\d* packets dropped`,
	`the ban ended \d+(\.\d)?s after the last packet`,
	`198\.51\.100\.23 is let in again: the server answers it`,
	`Done in \d+s\.`,
}

func TestDemoTellsItsStoryAndLeavesNothing(t *testing.T) {
	lab.Require(t)
	before := surroundings(t)
	t.Run("demos", func(t *testing.T) {
		t.Run("kamailio and sipp", func(t *testing.T) {
			t.Parallel()
			requirePrograms(t, map[string]string{"kamailio": "kamailio", "sipp": "sip-tester"})
			play(t, []string{
				`kamailio \d+\.\d+\.\d+, stock configuration with its anti-flood module, answers on 198\.51\.100\.1:5060`,
				`sipp makes \d+ calls a second`,
				`\| .* kamailio\[\d+\]: .*PIKE - BLOCKing ip 198\.51\.100\.23`,
			})
		})
		t.Run("own pair", func(t *testing.T) {
			t.Parallel()
			play(t, []string{
				`a small registrar answers on 198\.51\.100\.1:5060`,
				`\| .* registrar\[\d+\]: REGISTER of '<sip:\d+@203\.0\.113\.9>' refused for '198\.51\.100\.23:\d+': no such extension`,
			}, "--own-sip")
		})
		for _, end := range []syscall.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGKILL} {
			t.Run(end.String(), func(t *testing.T) {
				t.Parallel()
				interrupt(t, end)
			})
		}
	})
	left := without(surroundings(t), before)
	for end := time.Now().Add(patience); len(left) > 0 && time.Now().Before(end); left = without(surroundings(t), before) {
		time.Sleep(50 * time.Millisecond) // for what SIGKILL has ended to be gone
	}
	if len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if gone := without(before, surroundings(t)); len(gone) > 0 {
		t.Errorf("taken away: %q", gone)
	}
}

// without is what all has and others have not.
func without(all, others []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(one string) bool { return slices.Contains(others, one) })
}

// requirePrograms skips where a program is missing, and fails where kernel tests are required.
func requirePrograms(t *testing.T, packages map[string]string) {
	t.Helper()
	for program, name := range packages {
		if _, err := exec.LookPath(program); err == nil {
			continue
		}
		if os.Getenv("REQUIRE_KERNEL") == "1" {
			t.Fatalf("%s is missing: apt-get install %s", program, name)
		}
		t.Skipf("%s is missing: apt-get install %s", program, name)
	}
}

// newDemo is a demo in a process group of its own, as one that a shell starts.
func newDemo(args ...string) *exec.Cmd {
	cmd := exec.Command("xdpban", append([]string{"demo"}, args...)...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "XDPBAN_LAB=") })
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// play runs a demo to its end and looks for its own sentences and those of every demo.
func play(t *testing.T, own []string, args ...string) {
	out, err := newDemo(args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	rest := out
	for _, sentence := range story {
		at := regexp.MustCompile(sentence).FindIndex(rest)
		if at == nil {
			t.Fatalf("%s does not come where it should in\n%s", sentence, out)
		}
		rest = rest[at[1]:]
	}
	for _, sentence := range own {
		if !regexp.MustCompile(sentence).Match(out) {
			t.Errorf("%s is not in\n%s", sentence, out)
		}
	}
	ends := regexp.MustCompile(`the ban now ends at (\S+)`).FindAllSubmatch(out, -1)
	if first, last := ends[0][1], ends[len(ends)-1][1]; bytes.Equal(first, last) {
		t.Errorf("the end of the ban has not moved:\n%s", out)
	}
	quiet, err := strconv.ParseFloat(string(regexp.MustCompile(`the ban ended (\S+)s after`).FindSubmatch(out)[1]), 64)
	if err != nil || quiet < 4.9 || quiet > 10 {
		t.Errorf("let in %.1f s after the last packet (%v), want 6 s, less a second of the refresh", quiet, err)
	}
}

// interrupt ends a demo by a signal in the middle of its attack. What a terminal sends
// reaches the whole group and is answered; the others end the program that was started. It
// finds no Kamailio, and has to say so.
func interrupt(t *testing.T, signal syscall.Signal) {
	cmd := newDemo()
	cmd.Env = append(cmd.Env, "PATH=/nowhere")
	out := &watched{until: "packets/s dropped", seen: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() }) //nolint:errcheck // it has ended, then
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	await(t, out, done)
	if without := "kamailio is not installed (apt-get install kamailio sip-tester): our own small SIP server and scanner instead"; !strings.Contains(out.String(), without) {
		t.Errorf("%q is not in\n%s", without, out)
	}
	target := cmd.Process.Pid
	if signal == unix.SIGINT {
		target = -target
	}
	if err := unix.Kill(target, signal); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if signal == unix.SIGINT && (code(err) != 1 || !strings.HasSuffix(out.String(), "\nxdpban: stopped; nothing is left behind\n")) {
			t.Errorf("%v\n%s", err, out)
		}
	case <-time.After(patience):
		t.Errorf("still there %s after %s:\n%s", patience, signal, out)
	}
}

// await waits until what is awaited of out has come.
func await(t *testing.T, out *watched, done <-chan error) {
	t.Helper()
	select {
	case <-out.seen:
	case err := <-done:
		t.Fatalf("ended by itself: %v\n%s", err, out)
	case <-time.After(patience):
		t.Fatalf("waited %s for %q in\n%s", patience, out.until, out)
	}
}

// watched keeps what is written and tells when a text has come.
type watched struct {
	mu    sync.Mutex
	text  bytes.Buffer
	until string
	seen  chan struct{}
}

var _ io.Writer = (*watched)(nil)

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := bytes.Contains(w.text.Bytes(), []byte(w.until))
	w.text.Write(p)
	if !before && bytes.Contains(w.text.Bytes(), []byte(w.until)) {
		close(w.seen)
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// surroundings are what a demo could leave behind: processes, network interfaces and
// namespaces, mounts, pins, files in /run.
func surroundings(t *testing.T) []string {
	t.Helper()
	var all []string
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		all = append(all, "interface "+link.Attrs().Name)
	}
	for _, pattern := range []string{"/sys/fs/bpf/*", "/run/*", "/run/netns/*", "/dev/log"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range commands {
		command, err := os.ReadFile(path)
		if err == nil && len(command) > 0 { // otherwise it has ended: nobody reaps orphans in the lab
			all = append(all, fmt.Sprintf("process %s %q", path, command))
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	return append(all, strings.Split(string(mounts), "\n")...)
}
