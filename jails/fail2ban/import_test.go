package fail2ban

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"gopkg.in/yaml.v3"

	"xdpban/jails"
)

// TestImportWritesWhatTheDirectorySays compares all files of an import with an archive.
func TestImportWritesWhatTheDirectorySays(t *testing.T) {
	imported, err := Import("testdata/etc", []string{"app"})
	if err != nil {
		t.Fatal(err)
	}
	got := new(txtar.Archive)
	for _, file := range imported.Files {
		got.Files = append(got.Files, txtar.File{Name: file.Name, Data: file.Data})
	}
	const golden = "testdata/imported.txtar"
	if *update {
		if err := os.WriteFile(golden, txtar.Format(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(txtar.Format(got)) != string(want) {
		t.Errorf("got\n%s\nwant\n%s", txtar.Format(got), want)
	}
	load(t, imported)
}

// load writes what was imported into a directory and reads it as the daemon does.
func load(t *testing.T, imported *Imported) map[string]jails.JailConfig {
	t.Helper()
	dir := t.TempDir()
	for _, file := range imported.Files {
		path := filepath.Join(dir, file.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	config, err := jails.Load(filepath.Join(dir, MainFile))
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]jails.JailConfig)
	for _, jail := range config.Jails {
		found[jail.Name] = jail
	}
	return found
}

// TestEveryJailOfDebianIsImported has each of them find what it finds in fail2ban: the same
// regexes in the same order.
func TestEveryJailOfDebianIsImported(t *testing.T) {
	requireFail2ban(t)
	imported, err := Import("/etc/fail2ban", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(imported.LeftOut) > 0 {
		t.Errorf("left out are %v", imported.LeftOut)
	}
	loaded := load(t, imported)
	theirs, err := Open("/etc/fail2ban").Jails()
	if err != nil {
		t.Fatal(err)
	}
	if len(theirs) < 91 || len(loaded) != len(theirs) {
		t.Errorf("%d jails of %d", len(loaded), len(theirs))
	}
	for _, jail := range theirs {
		var got []string
		for _, rule := range loaded[jail.Name].Filter.Rules() {
			got = append(got, rule.Regex)
		}
		if want := texts(jail.Filter.Failregex); !slices.Equal(got, want) {
			t.Errorf("%s: got\n%q\nwant\n%q", jail.Name, got, want)
		}
	}
}

// TestAFileWithModesHasEachModesRules looks at every filter of Debian's that fits into one file.
func TestAFileWithModesHasEachModesRules(t *testing.T) {
	requireFail2ban(t)
	c := Open("/etc/fail2ban")
	together := 0
	for _, spec := range allSpecs(t, c) {
		d, err := c.definition(spec)
		if err != nil || strings.Contains(spec, "[") {
			continue
		}
		p := pages{config: c}
		page, err := p.moded(d)
		if err != nil {
			t.Fatal(err)
		}
		if page == nil {
			continue
		}
		together++
		for _, mode := range page.modes {
			want, err := c.Filter(spec+"[mode="+mode+"]", false)
			if err != nil {
				t.Fatal(err)
			}
			if !page.finds(want, mode) {
				t.Errorf("%s in mode %s has\n%q\nwant\n%q", spec, mode, texts(page.in(mode)), texts(want.Failregex))
			}
		}
	}
	if together < 4 {
		t.Errorf("%d filters have their modes in one file", together)
	}
}

func TestAJailInErrorIsLeftOutWhereItIsOff(t *testing.T) {
	const filterFile = "[Definition]\nfailregex = ^a <HOST>$\n"
	const jailFile = "[DEFAULT]\nfilter = %(__name__)s\nlogpath = /var/log/a.log\n[good]\n[bad]\n[empty]\n[regex]\n"
	dir, _ := unpack(t, txtar.Parse([]byte("-- jail.conf --\n"+jailFile+
		"-- filter.d/good.conf --\n"+filterFile+"-- filter.d/bad.conf --\n[Definition]\nfailregex = %(x)s\n"+
		"-- filter.d/empty.conf --\n[Definition]\nfailregex =\n-- filter.d/regex.conf --\n[Definition]\nfailregex = ^(<HOST>$\n")))
	imported, err := Import(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"bad", "empty", "regex"}; !slices.Equal(imported.LeftOut, want) || imported.Jails != 1 {
		t.Errorf("%d jails, left out are %v, want 1 and %v", imported.Jails, imported.LeftOut, want)
	}
	if !strings.Contains(string(imported.List), "filter.d/bad.conf:2: jail bad: [Definition] failregex: %(x)s: there is no option of that name") {
		t.Errorf("the list is\n%s", imported.List)
	}

	if err := os.WriteFile(filepath.Join(dir, "jail.local"), []byte("[DEFAULT]\nenabled = true\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = Import(dir, nil)
	errs := errorsOf(err)
	var blamed []string
	for _, e := range errs {
		blamed = append(blamed, e.Jail)
	}
	slices.Sort(blamed)
	if want := []string{"bad", "empty", "regex"}; !slices.Equal(blamed, want) {
		t.Errorf("got %v, want errors of %v", err, want)
	}
}

func TestWhatAJailCannotDoHereIsOff(t *testing.T) {
	dir, _ := unpack(t, txtar.Parse([]byte("-- filter.d/f.conf --\n[Definition]\nfailregex = ^a <HOST>$\n-- jail.conf --\n"+
		"[DEFAULT]\nfilter = f\nenabled = true\n"+
		"[opens]\nlogpath = /var/log/a.log\naction = iptables[blocktype=RETURN, port=ftp]\n"+
		"[blind]\nlogtimezone = CET\nlogpath =\nbackend = systemd\n"+
		"[strange name]\nlogpath = /var/log/[!a]*.log tail\n relative.log\n /var/log/b.log /var/log/c.log\n /x /y tail\n /z[ head\nbantime = -1\nfindtime = 0\nmaxretry = 5000\nlogtimezone = +01:30\nignoreip = 192.0.2.0/255.255.255.0 here.example.org\n")))
	imported, err := Import(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"opens", "blind"}; !slices.Equal(imported.Switched, want) || !slices.Equal(imported.Enabled, []string{"strange name"}) {
		t.Errorf("off now are %v, on %v", imported.Switched, imported.Enabled)
	}
	const want = `  strange-name:
    enabled: true
    filter: f
    logpath: ['/var/log/[^a]*.log', /var/log/b.log]
    bantime: 10y
    findtime: 1s
    maxretry: 1000
    ignoreip: ['192.0.2.0/24']
    maxbantime: 10y
    logtimezone: UTC+0130
`
	if main := string(imported.Files[0].Data); !strings.HasSuffix(main, want) {
		t.Errorf("got\n%s\nwant at its end\n%s", main, want)
	}
	for _, note := range []string{
		"jails that let in\n", "jails without a logpath\n", "backend = systemd\n", "[strange name] is strange-name\n", "[strange name] relative.log\n",
		"[strange name] /var/log/c.log\n", `[strange name] "/x /y" looks like several paths` + "\n", `[strange name] "/z[" is no pattern of file names` + "\n",
		"bans without end\n", "findtime = 0 is 1s\n", "maxretry = 5000 is 1000\n", "[strange name] here.example.org\n", "ignoreip of jails\n", "[blind] logtimezone = CET\n",
	} {
		if !strings.Contains(string(imported.List), note) {
			t.Errorf("%q is not in the list:\n%s", note, imported.List)
		}
	}
	if jail := load(t, imported)["strange-name"]; jail.SpoofedMax != jail.BanTime {
		t.Errorf("its rules ban for %v at most, want %v", jail.SpoofedMax, jail.BanTime)
	}
}

func TestTimesAreFail2bansTimes(t *testing.T) {
	for text, want := range map[string]float64{
		"600": 600, "10m": 600, "1d12h": 129600, "1h 30m": 5400, "1hour+30min": 5400, "1year-6mo": 15778800, "6 months": 15778800,
		"60*60": 3600, "60 * 60 / 2": 1800, "1.5h": 5400, "-1": -1, "2w": 1209600, "0d 1h 30m": 5400, "1mo": 2629800, " 5 ": 5, "2 WEEKS": 1209600,
	} {
		if got, err := seconds(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "1 fortnight", "5+", "()", "1..5"} {
		if got, err := seconds(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

func FuzzQuote(f *testing.F) {
	for _, text := range []string{"", "a", "true", "12", "it's", `\d "x" %`, "a: b", "# c", "- d", " e ", "\x1b\u0085\u202e\ufeff", "é", "~", "[x]", "1e3", ".5", "0x1f", "=", "<<"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = strings.ToValidUTF8(text, "?")
		var got map[string][]string
		var out page
		out.comment(0, []string{text})
		out.list(0, "k", []string{text, "x"})
		if err := yaml.Unmarshal([]byte(out.String()), &got); err != nil || !slices.Equal(got["k"], []string{text, "x"}) {
			t.Errorf("%q comes back as %q, %v\n%s", text, got, err, out.String())
		}
	})
}

func TestAllMistakesInValuesComeAtOnce(t *testing.T) {
	dir, _ := unpack(t, txtar.Parse([]byte("-- filter.d/f.conf --\n[Definition]\nfailregex = ^a <HOST>$\n-- jail.conf --\n"+
		"[DEFAULT]\nfilter = f\nlogpath = /a\nbantime = soon\nmaxretry = many\n[one]\nfindtime = 1 fortnight\nmaxretry = 0x10\n[two]\nbantime =\n")))
	_, err := Import(dir, nil)
	var got []string
	for _, e := range errorsOf(err) {
		got = append(got, strings.TrimPrefix(e.Error(), dir+"/"))
	}
	want := []string{
		`jail.conf:4: [DEFAULT] bantime: want a time, got "soon"`,
		`jail.conf:5: [DEFAULT] maxretry: want a number, got "many"`,
		`jail.conf:7: jail one: findtime: no unit of time is called "fortnight"`,
		`jail.conf:8: jail one: maxretry: want a number, got "0x10"`,
		`jail.conf:10: jail two: bantime: want a time, got ""`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What is odd and no mistake is imported as fail2ban means it.
func TestOddConfigurationsAreImported(t *testing.T) {
	type jail struct {
		logs, rules []string
		on          bool
	}
	const f = "-- filter.d/f.conf --\n[Definition]\nfailregex = ^a <HOST>$\n"
	a := []string{"^a <HOST>$"}
	tests := map[string]struct {
		files string
		want  map[string]jail
	}{
		"no jail": {f + "-- jail.conf --\n[DEFAULT]\nenabled = true\n", map[string]jail{}},
		"carriage returns": {
			"-- filter.d/f.conf --\n[Definition]\r\nfailregex = ^a <HOST>$\r\n  ^b <HOST>$\r\n-- jail.conf --\n[j]\r\nfilter = f\r\nlogpath = /a\r\n  /b\r\n",
			map[string]jail{"j": {[]string{"/a", "/b"}, []string{"^a <HOST>$", "^b <HOST>$"}, false}},
		},
		"tabs and colons": {f + "-- jail.conf --\n[j]\n\tenabled\t:\tYES\nfilter\t=\tf\nlogpath:\t/a\n\t\t/b\n", map[string]jail{"j": {[]string{"/a", "/b"}, a, true}}},
		"an action of many lines": {
			f + "-- jail.conf --\n[j]\nfilter = f\naction = a[x=\"b, ]\n    c\"]\n  # a comment\n    d[to=\"e ; f\n    g\"]\n\n    ; another\n    h\nlogpath = /a\n",
			map[string]jail{"j": {[]string{"/a"}, a, false}},
		},
		"comments among regexes": {
			"-- filter.d/f.conf --\n[Definition]\nfailregex = ^a <HOST>$\n\n   # one\n            ^b <HOST>$\n; two\n            ^c <HOST>$ ; three\n-- jail.conf --\n[j]\nfilter = f\nlogpath = /a\n",
			map[string]jail{"j": {[]string{"/a"}, []string{"^a <HOST>$", "^b <HOST>$", "^c <HOST>$"}, false}},
		},
		"files that include each other": {
			"-- filter.d/f.conf --\n[INCLUDES]\nbefore = g.conf\n[Definition]\nfailregex = ^%(x)s <HOST>$\n-- filter.d/g.conf --\n[INCLUDES]\nafter = f.conf\n[DEFAULT]\nx = a\n-- jail.conf --\n[j]\nfilter = f\nlogpath = /a\n",
			map[string]jail{"j": {[]string{"/a"}, a, false}},
		},
		"names that become one": {
			f + "-- filter.d/f g.conf --\n[Definition]\nfailregex = ^b <HOST>$\n-- filter.d/f-g.conf --\n[Definition]\nfailregex = ^c <HOST>$\n" +
				"-- jail.conf --\n[DEFAULT]\nlogpath = /a\n[a b]\nfilter = f g\n[a-b]\nfilter = f-g\n[../a]\nfilter = f\n",
			map[string]jail{"a-b": {[]string{"/a"}, []string{"^b <HOST>$"}, false}, "a-b-2": {[]string{"/a"}, []string{"^c <HOST>$"}, false}, "f..-a": {[]string{"/a"}, a, false}},
		},
		"a path with a control character": {f + "-- jail.conf --\n[j]\nenabled = on\nfilter = f\nlogpath = /a\x00\n [k]\n  /b\n", map[string]jail{"j": {[]string{"/b"}, a, true}}},
		"only .local files":               {"-- filter.d/f.local --\n[Definition]\nfailregex = ^a <HOST>$\n-- jail.local --\n[j]\nfilter = f\nlogpath = /a\n", map[string]jail{"j": {[]string{"/a"}, a, false}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			dir, _ := unpack(t, txtar.Parse([]byte(test.files)))
			imported, err := Import(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := make(map[string]jail)
			for name, config := range load(t, imported) {
				j := jail{logs: config.Logpath, on: config.Enabled}
				for _, rule := range config.Filter.Rules() {
					j.rules = append(j.rules, rule.Regex)
				}
				got[name] = j
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}
