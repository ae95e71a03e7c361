package jails

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"xdpban/configs"
	"xdpban/internal/yamldoc"
)

// write makes a directory of files, by path and text, and returns the path of the first.
func write(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, files[0])
}

func mustLoad(t *testing.T, path string) *Config {
	t.Helper()
	config, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// summary is j without its compiled filter.
func summary(j JailConfig) string {
	rules := j.Filter.Rules()
	j.Filter = nil
	j.identity = ""
	return fmt.Sprintf("%+v %+v", j, rules)
}

func equal(a, b *Config) bool {
	if len(a.Jails) != len(b.Jails) {
		return false
	}
	for i := range a.Jails {
		if summary(a.Jails[i]) != summary(b.Jails[i]) || a.Jails[i].identity != b.Jails[i].identity {
			return false
		}
	}
	x, y := *a, *b
	x.Jails, y.Jails = nil, nil
	return reflect.DeepEqual(x, y)
}

func TestEmbeddedDefaultIsThatOfTheSeed(t *testing.T) {
	config := mustLoad(t, "")
	if got, want := config.Defaults, (Rules{
		BanTime: 43200 * time.Second, FindTime: 600 * time.Second, QuietTime: time.Hour, MaxRetry: 5, MaxSources: 100_000,
	}); got != want {
		t.Errorf("defaults %+v, want %+v", got, want)
	}
	if got, want := config.IgnoreIP, prefixes("127.0.0.0/8", "::1/128"); !reflect.DeepEqual(got, want) {
		t.Errorf("ignoreip %v, want %v", got, want)
	}
	enabled := make(map[string]bool)
	for _, j := range config.Jails {
		enabled[j.Name] = j.Enabled
		if j.Enabled != (j.Name == "sshd") {
			t.Errorf("jail %s: enabled %v", j.Name, j.Enabled)
		}
	}
	for _, name := range []string{"sshd", "asterisk", "kamailio"} {
		if _, ok := enabled[name]; !ok {
			t.Errorf("no jail %s", name)
		}
	}
}

func TestReferenceFileSaysTheDefaults(t *testing.T) {
	text, err := configs.FS.ReadFile("xdpban.yaml")
	if err != nil {
		t.Fatal(err)
	}
	reference := mustLoad(t, write(t, "xdpban.yaml", string(text)))
	bare := mustLoad(t, write(t, "xdpban.yaml", "jails: { sshd: { enabled: true, filter: sshd, logpath: [/var/log/auth.log, /var/log/secure] } }\n"))
	if !equal(reference, bare) {
		t.Errorf("reference %+v\nbare      %+v", reference, bare)
	}
}

// keyLine is a key in a YAML file, or in an example of one.
var keyLine = regexp.MustCompile(`(?m)^ *#?([a-z0-9_]+):`)

func TestReferenceFileHasEveryKey(t *testing.T) {
	text, err := configs.FS.ReadFile("xdpban.yaml")
	if err != nil {
		t.Fatal(err)
	}
	there := make(map[string]bool)
	for _, m := range keyLine.FindAllSubmatch(text, -1) {
		there[string(m[1])] = true
	}
	for _, raw := range []any{rawConfig{}, rawJail{}} {
		for _, key := range yamldoc.Keys(raw) {
			if !there[key] {
				t.Errorf("xdpban.yaml does not have the key %s of %T", key, raw)
			}
		}
	}
}

// TestReferenceFilesExamplesAreValid takes the # from every example and lets later keys win.
func TestReferenceFilesExamplesAreValid(t *testing.T) {
	text, err := configs.FS.ReadFile("xdpban.yaml")
	if err != nil {
		t.Fatal(err)
	}
	shown := string(text)
	for _, replaced := range []string{"  ignoreip: [127.0.0.0/8, \"::1\"]\n", "    filter: sshd\n"} {
		if !strings.Contains(shown, replaced) {
			t.Fatalf("the reference file does not say %q", replaced)
		}
		shown = strings.Replace(shown, replaced, "", 1)
	}
	shown = regexp.MustCompile(`(?m)^( *)#([a-z]|  -)`).ReplaceAllString(shown, "$1$2")
	config := mustLoad(t, write(t, "xdpban.yaml", shown))
	sshd := config.Jails[0]
	if len(sshd.Filter.Rules()) != 2 || len(sshd.Own.Ignoreregex) != 1 || len(config.IgnoreIP) != 3 {
		t.Errorf("%d rules, %d ignoreregex, ignoreip %v", len(sshd.Filter.Rules()), len(sshd.Own.Ignoreregex), config.IgnoreIP)
	}
}

const everything = `interfaces: [eth0, wan*]
enforce: observe
forward: true
logback: false
socket: /tmp/s
state: /tmp/state
pin: /tmp/pin
loglevel: Warning
logtarget: stdout
ipv6_prefix: 56
maxbans: 10
maxprefixes: 11
maxallowed: 12
maxline: 1000
maxlag: 1001
defaults: { bantime: 1w, findtime: 90, maxretry: 3, quiettime: 0, maxbantime: 2w, maxsources: 9, ignoreip: 192.0.2.1, backend: auto }
jails:
  own:
    enabled: yes
    logpath: [/a/../b, /c*]
    failregex: ['^x <HOST>$', { regex: '^<PREFIX>y <HOST>$', name: why, trust: untrusted }]
    ignoreregex: '^x 192\.0\.2'
    trust: accept
    maxbantime: 3w
    ignoreip: ['::ffff:198.51.100.7', 2001:db8::1/32]
  named:
    filter: sshd
    logpath: /d
    bantime: 1d12h
    ignoreregex: noise
    prefregex: ^(?P<all>.*)$
    datepattern: ['{^LN-BEG}%Y', EPOCH]
    maxlines: 1
    distinct: all
    logtimezone: Europe/Zurich
    journalmatch: _COMM=sshd
`

func TestLoadReadsEveryKey(t *testing.T) {
	got := mustLoad(t, write(t, "x.yaml", everything))
	defaults := Rules{BanTime: 7 * day, FindTime: 90 * time.Second, MaxBanTime: 14 * day, MaxRetry: 3, MaxSources: 9}
	own, named := defaults, defaults
	zurich, err := time.LoadLocation("Europe/Zurich")
	if err != nil {
		t.Fatal(err)
	}
	own.MaxBanTime, named.BanTime = 21*day, 36*time.Hour
	want := &Config{
		Interfaces: []string{"eth0", "wan*"}, Enforce: Observe, Forward: true, Socket: "/tmp/s", State: "/tmp/state", Pin: "/tmp/pin",
		Loglevel: slog.LevelWarn, Logtarget: "STDOUT", IPv6Prefix: 56, MaxBans: 10, MaxPrefixes: 11, MaxAllowed: 12, MaxLine: 1000, MaxLag: 1001,
		Defaults: defaults, IgnoreIP: prefixes("192.0.2.1/32"),
		Jails: []JailConfig{
			{
				Name: "named", Rules: named, SpoofedMax: day, IgnoreIP: prefixes("192.0.2.1/32"), Logpath: []string{"/d"},
				FilterPath: "sshd",
				Own: OwnFilter{
					Ignoreregex: []string{"noise"},
					Prefregex:   "^(?P<all>.*)$",
					Datepattern: []string{"{^LN-BEG}%Y", "EPOCH"},
					Maxlines:    1,
				},
				Distinct: "all", Zone: zurich, Journal: []string{"_COMM=sshd"},
			},
			{
				Name: "own", Enabled: true, Rules: own, SpoofedMax: 21 * day, Logpath: []string{"/b", "/c*"}, AcceptUntrusted: true,
				IgnoreIP: prefixes("192.0.2.1/32", "198.51.100.7/32", "2001:db8::/32"),
				Own:      OwnFilter{Ignoreregex: []string{`^x 192\.0\.2`}},
			},
		},
	}
	for i := range want.Jails {
		want.Jails[i].Filter, want.Jails[i].identity = got.Jails[i].Filter, got.Jails[i].identity
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDumpIsReadToTheSame(t *testing.T) {
	for name, path := range map[string]string{
		"embedded":           "",
		"everything":         write(t, "x.yaml", everything),
		"limit for everyone": write(t, "x.yaml", "defaults: { maxbantime: 2d }\njails: { a: { filter: sshd, logpath: /a }, b: { filter: sshd, logpath: /a, maxbantime: 2d } }\n"),
		"filter file": write(t, "x.yaml", "jails: { a: { filter: mine, logpath: /a } }\n",
			"filters/mine.yaml", "description: m\nfailregex: [{ name: a, regex: '^<HOST>$', trust: verified }]\n"),
	} {
		t.Run(name, func(t *testing.T) {
			config := mustLoad(t, path)
			dumped, err := config.Dump()
			if err != nil {
				t.Fatal(err)
			}
			if again := mustLoad(t, write(t, "other.yaml", string(dumped))); !equal(config, again) {
				t.Errorf("dump\n%s\nread as %+v\nwas     %+v", dumped, again, config)
			}
		})
	}
}

func TestJailsDirectoryIsPutOverTheMainFile(t *testing.T) {
	config := mustLoad(t, write(t,
		"xdpban.yaml", "jails: { sshd: { enabled: true, filter: sshd, logpath: /var/log/auth.log, maxretry: 3 } }\n",
		"jails.d/20.yaml", "jails: { sshd: { maxretry: 7 }, pbx: { filter: asterisk, logpath: /var/log/pbx } }\n",
		"jails.d/10.yaml", "jails: { sshd: { maxretry: 9, enabled: false } }\n",
		"jails.d/30.yaml.off", "not: read\n",
		"jails.d/.40.yaml", "not: read\n",
		"jails.d/50.yaml", "# for now:\n\n  #jails: { sshd: { enabled: true } }\n"))
	var got []string
	for _, j := range config.Jails {
		got = append(got, fmt.Sprintf("%s %t %s %s %d", j.Name, j.Enabled, j.Filter.Name, j.Logpath, j.MaxRetry))
	}
	want := []string{"pbx false asterisk [/var/log/pbx] 5", "sshd false sshd [/var/log/auth.log] 7"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestErrorsOfAllFilesComeAtOnce(t *testing.T) {
	path := write(t,
		"xdpban.yaml", "maxbans: no\njails: { a: { filter: mine, logpath: /a } }\n",
		"jails.d/a.yaml", "loglevel: info\njails: { b: { filter: sshd, logpath: b } }\n",
		"jails.d/b.yaml", "jails: [\n",
		"jails.d/c.yml", "jails: {}\n",
		"jails.d/d.YAML", "jails: {}\n",
		"jails.d/e.local", "[sshd]\nenabled = true\n",
		"jails.d/f.yaml", "",
		"jails.d/README", "not a jail\n",
		"jails.d/b.yaml.dpkg-old", "jails: {}\n",
		"filters/mine.yaml", "description: m\nfailregex: [{ name: a, regex: '^(', trust: verified }]\n")
	_, err := Load(path)
	var errs yamldoc.Errors
	if !errors.As(err, &errs) {
		t.Fatal(err)
	}
	var got []string
	for _, e := range errs {
		name, err := filepath.Rel(filepath.Dir(path), e.File)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s:%d %s %s", name, e.Line, e.Jail, e.Key))
	}
	want := []string{"filters/mine.yaml:2  failregex[1]", "jails.d/a.yaml:1  loglevel", "jails.d/a.yaml:2 b logpath[1]", "jails.d/b.yaml:2  ", "jails.d/c.yml:0  ", "jails.d/d.YAML:0  ", "jails.d/e.local:0  ", "jails.d/f.yaml:0  ", "xdpban.yaml:1  maxbans"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q\n%v", got, want, err)
	}
}

func TestFilterBesideTheConfigurationIsFoundFirst(t *testing.T) {
	config := mustLoad(t, write(t,
		"xdpban.yaml", "jails: { sshd: { filter: sshd, logpath: /a } }\n",
		"filters/sshd.yaml", "description: own\nfailregex: [{ name: mine, regex: '^<HOST>$', trust: verified }]\n"))
	if got := config.Jails[0].Filter.Rules()[0].Name; got != "mine" {
		t.Errorf("rule %s, want mine", got)
	}
}

func TestAFilterOfFail2bansIsKnown(t *testing.T) {
	conf := write(t, "mine.conf", "# mine\n[Definition]\nfailregex = ^bad <HOST>$\n")
	_, err := Load(write(t, "xdpban.yaml", "jails: { mine: { filter: "+conf+", logpath: /a } }\n"))
	var errs yamldoc.Errors
	if !errors.As(err, &errs) || len(errs) != 1 || errs[0].File != conf || errs[0].Hint != importHint {
		t.Errorf("got %v", err)
	}
}

func TestAJailChoosesTheModeOfItsFilter(t *testing.T) {
	config := mustLoad(t, write(t,
		"xdpban.yaml", "jails:\n  a: { filter: two, logpath: /a }\n  b: { filter: 'two[mode=ddos]', logpath: /a, ignoreregex: noise }\n",
		"filters/two.yaml", "failregex:\n  - { name: a, regex: '^a <HOST>$', trust: verified, modes: normal }\n  - { name: b, regex: '^b <HOST>$', trust: verified, modes: ddos }\n"))
	for i, want := range []struct{ filter, rule string }{{"two", "a"}, {"two[mode=ddos]", "b"}} {
		got := config.Jails[i].Filter
		if rules := got.Rules(); got.String() != want.filter || len(rules) != 1 || rules[0].Name != want.rule {
			t.Errorf("%v has %+v, want %+v", got, rules, want)
		}
	}
	dumped, err := config.Dump()
	if err != nil || !strings.Contains(string(dumped), "/filters/two.yaml[mode=ddos]\n") {
		t.Errorf("%v\n%s", err, dumped)
	}
}

func TestZones(t *testing.T) {
	for text, want := range map[string]int{"UTC": 0, "UTC+0200": 7200, "UTC-01:30": -5400, "GMT+2": 7200, "Asia/Kolkata": 19800} {
		var z zone
		if err := z.UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if _, offset := noon.In(z.Location).Zone(); offset != want {
			t.Errorf("%s is %d s east of UTC, want %d", text, offset, want)
		}
		var again zone // as a dump is read
		if err := again.UnmarshalText([]byte(z.String())); err != nil || again.String() != z.String() {
			t.Errorf("%s is read again as %v, %v", text, again.Location, err)
		}
	}
	for _, text := range []string{"", "Local", "Moon", "UTC+99", "../../etc/passwd", "+0200"} {
		if new(zone).UnmarshalText([]byte(text)) == nil {
			t.Errorf("%q is a zone", text)
		}
	}
}

func TestFindFilter(t *testing.T) {
	const mine = "description: own\nfailregex:\n  - { name: mine, regex: '^<HOST>$', trust: verified }\n"
	const moded = mine + "  - { name: b, regex: '^b <HOST>$', trust: verified, modes: [ddos] }\n"
	config := write(t, "xdpban.yaml", "", "filters/mine.yaml", mine, "filters/moded.yaml", moded, "filters/bad.yaml", "failregex: [{ name: a, regex: '(', trust: verified }]\n")
	dir := filepath.Dir(config)
	tests := []struct{ config, name, from, err string }{
		{config, "mine", dir + "/filters/mine.yaml", ""},
		{config, "sshd", "sshd", ""},
		{"", "sshd", "sshd", ""},
		{"", dir + "/filters/mine.yaml", dir + "/filters/mine.yaml", ""},
		{"", "akismet", "", `there is no filter "akismet" (with a there are apache-auth, `},
		{"", "xyz", "", `there is no filter "xyz" (none begins with x)`},
		{config, "moded[mode=ddos]", dir + "/filters/moded.yaml", ""},
		{"", dir + `/filters/moded.yaml[mode="ddos"]`, dir + "/filters/moded.yaml", ""},
		{config, "moded[mode=extra]", "", `filter "moded" has no mode "extra" (it has normal, ddos)`},
		{config, "moded[ddos]", "", `"moded[ddos]" is no name of a filter (write sshd, or sshd[mode=ddos])`},
		{config, "recidive[mode=ddos]", "", `filter "recidive" has no mode "ddos" (it has one set of rules: write its name alone)`},
		{config, "bad", "", dir + "/filters/bad.yaml:1: failregex[1]: "},
	}
	for _, test := range tests {
		f, from, err := FindFilter(test.config, test.name)
		if test.err == "" && (err != nil || f == nil || from != test.from) {
			t.Errorf("%s: from %q, %v, want %q", test.name, from, err, test.from)
		}
		if test.err != "" && (err == nil || !strings.HasPrefix(err.Error(), test.err)) {
			t.Errorf("%s: %v, want %s", test.name, err, test.err)
		}
	}
}

func TestBrokenMainFileIsNotBlamedOnTheJails(t *testing.T) {
	path := write(t, "xdpban.yaml", "jails: [\n", "jails.d/a.yaml", "jails: { sshd: { maxretry: 3 } }\n")
	_, err := Load(path)
	if err == nil || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), path+":2: not YAML") {
		t.Errorf("got %v", err)
	}
}

func TestUnreadableJailsDirectoryIsAnError(t *testing.T) {
	path := write(t, "xdpban.yaml", "loglevel: info\n", "jails.d", "a file\n")
	_, err := Load(path)
	if want := filepath.Join(filepath.Dir(path), "jails.d") + ": "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s...", err, want)
	}
}

func TestMissingFileIsAnError(t *testing.T) {
	_, err := Load("testdata/absent.yaml")
	if want := "testdata/absent.yaml: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"43200": 12 * time.Hour, "12h": 12 * time.Hour, "1d12h": 36 * time.Hour, "1d 12h": 36 * time.Hour, " 1 week ": 7 * day,
		"1W2D": 9 * day, "90 sec": 90 * time.Second, "5 minutes": 5 * time.Minute, "1y": 365*day + 6*time.Hour, "12mo": year,
		"1mon": year / 12, "0": 0, "10y": MaxTime, "1h30": time.Hour + 30*time.Second,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", " ", "-1", "h", "1.5h", "1x", "10y1s", "999999999999y", "9999999999999", "60*60", "1h,2m", "1e3"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
}

// smallFilters puts into dir, in place of those that configurations name most, filters that are read in no time.
func smallFilters(f *testing.F, dir string) {
	f.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		f.Fatal(err)
	}
	const text = "failregex:\n  - { name: a, trust: verified, regex: '^<PREFIX>bad <F-USER>\\S+</F-USER> <HOST>$' }\n"
	for _, name := range []string{"sshd", "asterisk", "kamailio"} {
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o644); err != nil {
			f.Fatal(err)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(everything))
	reference, err := configs.FS.ReadFile("xdpban.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reference)
	bad, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range bad {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	path := filepath.Join(f.TempDir(), "xdpban.yaml")
	smallFilters(f, filepath.Join(filepath.Dir(path), "filters"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		config, err := Load(path)
		var errs yamldoc.Errors
		if err != nil && !errors.As(err, &errs) {
			t.Fatalf("%T: %v", err, err)
		}
		if err != nil {
			return
		}
		dumped, err := config.Dump()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, dumped, 0o644); err != nil {
			t.Fatal(err)
		}
		if again, err := Load(path); err != nil || !equal(config, again) {
			t.Fatalf("dump\n%s\nread as %+v, %v", dumped, again, err)
		}
	})
}
