package fail2ban

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Python is the one that Debian's fail2ban is installed for.
const python = "/usr/bin/python3"

// requireFail2ban skips the test where fail2ban is missing, unless everything has to run.
func requireFail2ban(t testing.TB) {
	t.Helper()
	if err := exec.Command(python, "-c", "import fail2ban.client.filterreader").Run(); err != nil {
		missing(t, "fail2ban is not installed: apt-get install fail2ban")
	}
}

func missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("REQUIRE_KERNEL") == "1" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}

// An expansion is what the server would be told of a filter; nothing where it cannot be expanded.
type expansion struct {
	Name    string            `json:"name"`
	Told    told              `json:"told"`
	Options map[string]string `json:"options"`
}

type told struct {
	Prefregex    string   `json:"prefregex"`
	Failregex    []string `json:"failregex"`
	Ignoreregex  []string `json:"ignoreregex"`
	Maxlines     int      `json:"maxlines"`
	Datepattern  []string `json:"datepattern"`
	Journalmatch []string `json:"journalmatch"`
	UseDNS       string   `json:"usedns"`
}

func tell(f *Filter) told {
	return told{f.Prefregex.Text, texts(f.Failregex), texts(f.Ignoreregex), f.Maxlines, texts(f.Datepattern), texts(f.Journalmatch), f.UseDNS.Text}
}

func texts(lines []Line) []string {
	list := []string{}
	for _, line := range lines {
		list = append(list, line.Text)
	}
	return list
}

// TestFiltersExpandAsFail2banExpandsThem asks fail2ban's own reader for every filter with every choice that
// it has, for files and for the journal, and for every jail.
func TestFiltersExpandAsFail2banExpandsThem(t *testing.T) {
	requireFail2ban(t)
	for _, dir := range []string{"testdata/etc", "/etc/fail2ban"} {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			asked, ours := expandAll(t, Open(dir))
			theirs := askFail2ban(t, dir, asked)
			if len(theirs) != len(ours) {
				t.Fatalf("%d expansions, want %d", len(ours), len(theirs))
			}
			for i, want := range theirs {
				if !reflect.DeepEqual(ours[i], want) {
					t.Errorf("got\n%+v\nwant\n%+v", ours[i], want)
				}
			}
			t.Logf("%d filters and jails", len(ours))
		})
	}
}

// expandAll expands all of c. asked are the filters among it as expand.py wants them.
func expandAll(t *testing.T, c *Config) (asked []byte, all []expansion) {
	t.Helper()
	for _, spec := range allSpecs(t, c) {
		for _, journal := range []bool{false, true} {
			e := expansion{Name: spec, Options: map[string]string{}}
			if f, err := c.Filter(spec, journal); err == nil {
				e.Told = tell(f)
			}
			all = append(all, e)
			line, err := json.Marshal(map[string]any{"spec": spec, "journal": journal})
			if err != nil {
				t.Fatal(err)
			}
			asked = append(append(asked, line...), '\n')
		}
	}
	jails, err := c.Jails()
	if err != nil {
		t.Fatal(err)
	}
	for _, jail := range jails {
		if jail.Err != nil {
			t.Fatal(jail.Err)
		}
		e := expansion{jail.Name, tell(jail.Filter), make(map[string]string)}
		for _, name := range []string{"findtime", "bantime", "maxretry", "ignoreip", "logpath", "backend"} {
			if value, ok := jail.options.get(name); ok {
				e.Options[name] = value.s
			}
		}
		all = append(all, e)
	}
	return asked, all
}

// allSpecs lists the filters of c, alone and with each choice that they have.
func allSpecs(t *testing.T, c *Config) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(c.dir, "filter.d", "*.conf"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no filters in %s: %v", c.dir, err)
	}
	var specs []string
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".conf")
		d, err := c.definition(name)
		if err != nil && strings.HasSuffix(err.Error(), "has no [Definition]") {
			continue // parts for others
		}
		if err != nil {
			t.Fatal(err)
		}
		specs = append(specs, name)
		var names []string
		for _, c := range d.choosers() {
			names = append(names, c.option)
		}
		slices.Sort(names)
		for _, option := range slices.Compact(names) {
			for _, choice := range d.choices(option) {
				specs = append(specs, name+"["+option+`="`+choice+`"]`)
			}
		}
	}
	return specs
}

func askFail2ban(t *testing.T, dir string, asked []byte) []expansion {
	t.Helper()
	cmd := exec.Command(python, "testdata/expand.py", dir)
	cmd.Stdin = bytes.NewReader(asked)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []expansion
	for answers := json.NewDecoder(bytes.NewReader(out)); answers.More(); {
		var e expansion
		if err := answers.Decode(&e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}
