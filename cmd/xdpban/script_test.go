package main

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"xdpban/internal/lab"
)

func TestScripts(t *testing.T) {
	hideHostConfig(t)
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Cmds: commands, Setup: setUp})
}

// TestScriptsInTheLab runs those that need root: interfaces, the kernel, other users.
func TestScriptsInTheLab(t *testing.T) {
	lab.Require(t)
	hideHostConfig(t)
	testscript.Run(t, testscript.Params{Dir: "testdata/lab", Cmds: commands, Setup: setUp})
}

// TestScriptsOfIPTables runs those that have the lab's firewall for themselves.
func TestScriptsOfIPTables(t *testing.T) {
	lab.Require(t)
	hideHostConfig(t)
	testscript.Run(t, testscript.Params{Dir: "testdata/iptables", Cmds: commands, Setup: setUp})
}

// hideHostConfig keeps /etc/xdpban of this host out of the tests.
func hideHostConfig(t *testing.T) {
	t.Helper()
	dir := filepath.Dir(defaultConfig)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return
	}
	if !inTheLab() {
		t.Skipf("%s of this host cannot be hidden outside the lab", dir)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
		t.Fatalf("hide %s: %v", dir, err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) }) //nolint:errcheck // the lab ends soon
}

// setUp makes directories that other users may enter, and one clock for all.
func setUp(env *testscript.Env) error {
	env.Setenv("TZ", "UTC")
	env.Values[theFar{}] = new(*lab.Host)
	program, err := exec.LookPath("xdpban")
	if err != nil {
		return err
	}
	for _, dir := range []string{filepath.Dir(filepath.Dir(program)), filepath.Dir(env.WorkDir)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// commands are what scripts can do beside testscript's own.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"exits":  exitsWith,
	"until":  until,
	"shows":  shows,
	"keys":   keys,
	"expand": expand,
	"cable":  cable,
	"knock":  knock,
	"signal": signalAll,
}

// exitsWith runs a command and wants an exit code: "exits 2 xdpban ban".
func exitsWith(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := code(ts.Exec(args[1], args[2:]...)); got != want {
		ts.Fatalf("%s ends with %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// code is the exit code that err tells of; -1: the command did not end by itself.
func code(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

// patience is how long a script waits for what must come.
const patience = 20 * time.Second

// until runs a command until its output has a match of a regex: "until '192\.0\.2\.7' xdpban bans".
func until(ts *testscript.TestScript, neg bool, args []string) {
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if ts.Exec(args[1], args[2:]...) == nil && pattern.MatchString(ts.ReadFile("stdout")) != neg {
			return
		}
	}
	ts.Fatalf("waited %s for %q in the output of %s", patience, args[0], strings.Join(args[1:], " "))
}

// shows compares a file, or stdout or stderr, with another where … stands for any text in
// a line, and variables for their values: "shows stdout want".
func shows(ts *testscript.TestScript, _ bool, args []string) {
	got := ts.ReadFile(args[0])
	want := os.Expand(ts.ReadFile(args[1]), ts.Getenv)
	parts := strings.Split(want, "…")
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(part)
	}
	if !regexp.MustCompile("^" + strings.Join(parts, "[^\n]+?") + "$").MatchString(got) {
		ts.Fatalf("%s is\n%s\nwant\n%s", args[0], got, want)
	}
}

// keys wants stdout to be JSON whose object at a path has exactly these keys, in any
// order: "keys jails.0 name enabled".
func keys(ts *testscript.TestScript, _ bool, args []string) {
	var at any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &at))
	for step := range strings.SplitSeq(args[0], ".") {
		if step == "" {
			continue
		}
		if list, ok := at.([]any); ok {
			n, err := strconv.Atoi(step)
			ts.Check(err)
			at = list[n]
			continue
		}
		at = at.(map[string]any)[step]
	}
	var got []string
	for key := range at.(map[string]any) {
		got = append(got, key)
	}
	want := slices.Sorted(slices.Values(args[1:]))
	if slices.Sort(got); !slices.Equal(got, want) {
		ts.Fatalf("%q has the keys %v, want %v", args[0], got, want)
	}
}

// expand puts values for the variables in files: "expand xdpban.yaml".
func expand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		path := ts.MkAbs(name)
		text, err := os.ReadFile(path)
		ts.Check(err)
		ts.Check(os.WriteFile(path, []byte(os.Expand(string(text), ts.Getenv)), 0o644))
	}
}

// signalAll sends a signal to every process that the script has in the background: "signal HUP".
func signalAll(ts *testscript.TestScript, _ bool, args []string) {
	number := unix.SignalNum("SIG" + args[0])
	if number == 0 {
		ts.Fatalf("there is no signal %s", args[0])
	}
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(number))
	}
}

// theFar is the key of the host at the other end of a script's cable.
type theFar struct{}

func far(ts *testscript.TestScript) **lab.Host { return ts.Value(theFar{}).(**lab.Host) }

// cable lays a cable from a new interface of the lab to another host:
// "cable x0 192.0.2.1/24 192.0.2.7/24", where the last address is the other's.
func cable(ts *testscript.TestScript, _ bool, args []string) {
	host, err := lab.NewHost()
	ts.Check(err)
	ts.Defer(host.Close)
	ts.Check(lay(host, args[0]))
	near, err := netlink.LinkByName(args[0])
	ts.Check(err)
	address, err := netlink.ParseAddr(args[1])
	ts.Check(err)
	ts.Check(netlink.AddrAdd(near, address))
	ts.Check(netlink.LinkSetUp(near))
	ts.Check(host.Address(args[0], args[2]))
	*far(ts) = host
}

// lay makes a cable between this namespace and host, with an interface called name at both ends.
func lay(host *lab.Host, name string) error {
	var there netns.NsHandle
	if err := host.Do(func() (err error) { there, err = netns.Get(); return err }); err != nil {
		return err
	}
	defer there.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: name, PeerNamespace: netlink.NsFd(there)}); err != nil {
		return err
	}
	end, err := host.Links().LinkByName(name)
	if err != nil {
		return err
	}
	return host.Links().LinkSetUp(end)
}

// knock wants the other host to reach an address of ours, or not to: "! knock 192.0.2.1".
func knock(ts *testscript.TestScript, neg bool, args []string) {
	wait := patience
	if neg {
		wait = 300 * time.Millisecond // an answer takes less than one
	}
	err := (*far(ts)).Do(func() error {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(args[0], "9"), wait)
		if err == nil {
			conn.Close()
		}
		return err
	})
	answered := err == nil || errors.Is(err, unix.ECONNREFUSED) // nobody listens, but somebody answers
	if answered == neg {
		ts.Fatalf("knock at %s: %v", args[0], err)
	}
}
