package main

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xdpban/internal/lab"
)

// A promise is what a command of README.md does when it is run as it stands there.
type promise struct {
	prepare func(*reader, *testing.T) // what the text around it asks for
	instead string                    // run this; empty: the command itself
	want    string                    // a regex for its output
	check   func(*testing.T)
}

// promises are the commands of README.md.
var promises = map[string]promise{
	"make demo":    {want: `198\.51\.100\.23 is let in again`},
	"make test":    {instead: testCommand(), want: `go test`},
	"make build":   {want: `go build`, check: staticProgram},
	"make install": {want: `Installed\.`, check: installed},

	"xdpban check":  {want: `^configuration /etc/xdpban/xdpban\.yaml: ok\n`},
	"xdpban status": {prepare: (*reader).start, want: `^xdpban \S+, up .*, configuration /etc/xdpban/xdpban\.yaml\n`},
	"xdpban bans":   {want: `^nobody is banned\n$`},
	"xdpban ban 192.0.2.7 --for 2h --reason 'called at night'": {want: `^banned 192\.0\.2\.7 until `},
	"xdpban unban 192.0.2.7":                                   {want: `^unbanned 192\.0\.2\.7\n$`},
	"xdpban reload":                                            {want: `^reloaded /etc/xdpban/xdpban\.yaml: sshd\n$`},

	"xdpban regex /var/log/auth.log sshd": {prepare: log, want: `Lines: 1 line, 0 ignored, 1 matched, 0 missed`},
	"xdpban regex 'Nov  9 18:47:21 h app[1]: bad password from 192.0.2.7' '^<PREFIX>bad password from <HOST>$'": {
		want: `192\.0\.2\.7 +once +\d{4}-11-09 18:47:21`},

	"xdpban explain 'Nov  9 18:47:21 h sshd[1]: Failed password for root from 192.0.2.7 port 4242 ssh2'": {want: `sshd +failed-password +192\.0\.2\.7`},

	"xdpban dry-run /var/log/auth.log sshd": {want: `0 bans, 1 line`},
	"xdpban verify 192.0.2.7":               {want: `PASS`},

	"xdpban import fail2ban /etc/fail2ban -o /etc/xdpban/imported":            {want: `^What /etc/fail2ban says and this configuration does not`},
	"xdpban check -c /etc/xdpban/imported/xdpban.yaml":                        {want: `^configuration /etc/xdpban/imported/xdpban\.yaml: ok\n`},
	"xdpban regex -c /etc/fail2ban /var/log/auth.log 'sshd[mode=aggressive]'": {want: `Lines: 1 line, 0 ignored, 1 matched, 0 missed`},

	"xdpban detach": {prepare: (*reader).stop, want: `^nothing of xdpban is left in the kernel`},
}

// testCommand stands in for "make test": the test that it runs cannot run it.
func testCommand() string {
	if os.Getenv("XDPBAN_MAKE_TEST") == "1" {
		return "echo go test is running"
	}
	return "make -n test"
}

func TestReadmeCommandsWork(t *testing.T) {
	lab.Require(t)
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := shellCommands(string(text))
	for command := range promises {
		if !slices.Contains(commands, command) {
			t.Errorf("README.md does not say %q any more", command)
		}
	}
	r := newReader(t)
	for _, command := range commands {
		promise, known := promises[command]
		if !known {
			t.Errorf("README.md says %q, and nobody has tried it", command)
			continue
		}
		r.try(t, command, promise)
	}
}

// shellCommands are the lines of the fenced sh blocks of a Markdown text, without sudo.
func shellCommands(text string) []string {
	var commands []string
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(block[1]) {
			commands = append(commands, strings.TrimPrefix(strings.TrimSpace(line), "sudo "))
		}
	}
	return commands
}

// A reader follows README.md on a machine of his own: what he installs is written over this
// machine's directories in the lab alone.
type reader struct {
	env    []string
	daemon *exec.Cmd
}

func newReader(t *testing.T) *reader {
	t.Helper()
	for _, dir := range []string{"/etc", "/usr/local"} {
		overlay(t, dir)
	}
	if err := unix.Mount("tmpfs", "/var/log", "tmpfs", 0, "mode=0755"); err != nil {
		t.Fatalf("mount tmpfs on /var/log: %v", err)
	}
	t.Cleanup(func() { unix.Unmount("/var/log", unix.MNT_DETACH) }) //nolint:errcheck // the lab ends soon
	if err := os.RemoveAll("/etc/xdpban"); err != nil {
		t.Fatal(err)
	}
	foreign := regexp.MustCompile(`^(XDPBAN_LAB|CGO_ENABLED|MAKE\w*|MFLAGS|PATH)=`)
	env := slices.DeleteFunc(os.Environ(), foreign.MatchString)
	r := &reader{env: append(env, "TZ=UTC", "PATH=/usr/local/sbin:"+withoutTestBinaries(os.Getenv("PATH")))}
	t.Cleanup(func() { r.stop(t) })
	return r
}

// withoutTestBinaries takes the xdpban of the scripts off a PATH: here it is the one that was built.
func withoutTestBinaries(path string) string {
	return strings.Join(slices.DeleteFunc(filepath.SplitList(path), func(dir string) bool {
		return strings.Contains(dir, "testscript-main")
	}), ":")
}

// overlay makes what is written into dir stay in memory until the test ends.
func overlay(t *testing.T, dir string) {
	t.Helper()
	layer, err := os.MkdirTemp("/run", "overlay") // tmpfs, which the upper layer has to be on
	if err != nil {
		t.Fatal(err)
	}
	upper, work := filepath.Join(layer, "upper"), filepath.Join(layer, "work")
	for _, made := range []string{upper, work} {
		if err := os.Mkdir(made, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", dir, upper, work)
	if err := unix.Mount("overlay", dir, "overlay", 0, options); err != nil {
		t.Fatalf("mount an overlay on %s: %v", dir, err)
	}
	t.Cleanup(func() {
		unix.Unmount(dir, unix.MNT_DETACH) //nolint:errcheck // the lab ends soon
		os.RemoveAll(layer)                //nolint:errcheck // in memory
	})
}

func (r *reader) try(t *testing.T, command string, p promise) {
	t.Helper()
	if p.prepare != nil {
		p.prepare(r, t)
	}
	run := command
	if p.instead != "" {
		run = p.instead
	}
	out, err := r.command(run).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", command, err, out)
		return
	}
	if !regexp.MustCompile(p.want).Match(out) {
		t.Errorf("%s: %s is not in\n%s", command, p.want, out)
	}
	if p.check != nil {
		p.check(t)
	}
}

func (r *reader) command(line string) *exec.Cmd {
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir, cmd.Env = "../..", r.env
	return cmd
}

// start starts the service as its unit does, waits until it answers, and has it reload.
func (r *reader) start(t *testing.T) {
	t.Helper()
	r.daemon = r.command("exec " + unitSays(t, "ExecStart"))
	if err := r.daemon.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); r.command("xdpban status").Run() != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the daemon does not answer within %s", patience)
		}
	}
	reload := unitSays(t, "ExecReload")
	if out, err := r.command(reload).CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "reloaded ") {
		t.Errorf("%s: %v, %s", reload, err, out)
	}
}

// unitSays is what stands behind a key of the service's unit.
func unitSays(t *testing.T, key string) string {
	t.Helper()
	unit, err := os.ReadFile("/etc/systemd/system/xdpban.service")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^` + key + `=(.*)$`).FindSubmatch(unit)
	if line == nil {
		t.Fatalf("the unit has no %s:\n%s", key, unit)
	}
	return string(line[1])
}

// stop stops the service.
func (r *reader) stop(t *testing.T) {
	t.Helper()
	if r.daemon == nil {
		return
	}
	if err := r.daemon.Process.Signal(unix.SIGTERM); err != nil {
		t.Errorf("stop the daemon: %v", err)
	}
	if err := r.daemon.Wait(); err != nil {
		t.Errorf("the daemon ends with: %v", err)
	}
	r.daemon = nil
}

// log is a machine that somebody has tried to enter.
func log(_ *reader, t *testing.T) {
	t.Helper()
	const line = "Nov  9 18:47:21 h sshd[1]: Failed password for root from 192.0.2.7 port 4242 ssh2\n"
	if err := os.WriteFile("/var/log/auth.log", []byte(line), 0o640); err != nil {
		t.Fatal(err)
	}
}

// staticProgram wants no interpreter and no shared library in what was built.
func staticProgram(t *testing.T) {
	t.Helper()
	program, err := elf.Open("../../bin/xdpban")
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	for _, part := range program.Progs {
		if part.Type == elf.PT_INTERP || part.Type == elf.PT_DYNAMIC {
			t.Errorf("bin/xdpban has a %s: it is not static", part.Type)
		}
	}
}

func installed(t *testing.T) {
	t.Helper()
	for _, path := range []string{
		"/usr/local/sbin/xdpban", "/etc/xdpban/xdpban.yaml", "/etc/xdpban/jails.d/asterisk.yaml",
		"/etc/xdpban/filters", "/etc/systemd/system/xdpban.service",
	} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("not installed: %v", err)
		}
	}
}
