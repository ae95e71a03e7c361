package daemon

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"xdpban/internal/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

// program is the path of the real xdpban, built once. It lies in the lab's own /run and
// goes with the lab.
var program = sync.OnceValues(func() (string, error) { return build("this") })

// builds is where tests that run on another machine find what was built for them.
const builds = "XDPBAN_BUILDS"

// seconds is n of them, as configurations have it.
func seconds(n int) string { return fmt.Sprint(time.Duration(n) * lab.Slowness * time.Second) }

// build builds xdpban as that version.
func build(version string, flags ...string) (string, error) {
	if dir := os.Getenv(builds); dir != "" {
		return filepath.Join(dir, version), nil
	}
	path := filepath.Join("/run/builds", version)
	cgo := "CGO_ENABLED=0"
	if raced() {
		cgo, flags = "CGO_ENABLED=1", append(flags, "-race")
	}
	args := append([]string{"build", "-ldflags", "-X main.version=" + version, "-o", path}, flags...)
	cmd := exec.Command("go", append(args, "xdpban/cmd/xdpban")...)
	cmd.Env = append(os.Environ(), cgo, "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build xdpban %s: %w: %s", version, err, out)
	}
	return path, nil
}

// raced reports whether this test looks for data races. Then the program does it too.
func raced() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
