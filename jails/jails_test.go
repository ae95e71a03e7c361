package jails

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"xdpban/internal/ban"
	"xdpban/jails/filter"
	"xdpban/jails/source"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// patience is how long a test waits for what has to come at once.
const patience = 20 * time.Second

// A bench is Jails at work on logs in a directory of their own.
type bench struct {
	*Jails
	t     *testing.T
	dir   string
	found chan Found
	lines map[string]int // written to each log
}

// start runs the jails of config, in which DIR stands for the directory. Its logs, auth
// and pbx, are there already, and a filter app.yaml where it is given.
func start(t *testing.T, config string, app ...string) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), found: make(chan Found, 1000), lines: make(map[string]int)}
	for _, name := range []string{"auth", "pbx"} {
		if err := os.WriteFile(filepath.Join(b.dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range app {
		if err := os.WriteFile(filepath.Join(b.dir, "app.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	b.Jails, err = newJails(b.load(config), func(f Found) { b.found <- f }, quiet, func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) load(config string) *Config {
	b.t.Helper()
	return mustLoad(b.t, write(b.t, "xdpban.yaml", strings.ReplaceAll(config, "DIR", b.dir)))
}

func (b *bench) reload(config string) {
	b.t.Helper()
	if err := b.Reload(b.load(config)); err != nil {
		b.t.Fatal(err)
	}
}

// write appends lines to a log and waits until all its jails have read them.
func (b *bench) write(log string, lines ...string) {
	b.t.Helper()
	f, err := os.OpenFile(filepath.Join(b.dir, log), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.WriteString(f, strings.Join(lines, "\n")+"\n"); err != nil {
		b.t.Fatal(err)
	}
	b.lines[log] += len(lines)
	b.wait(func() bool {
		for _, s := range b.follower.Status() {
			if s.Path == filepath.Join(b.dir, log) {
				return s.Lines == uint64(b.lines[log])
			}
		}
		return false
	})
}

func (b *bench) wait(until func() bool) {
	b.t.Helper()
	for end := time.Now().Add(patience); !until(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("it did not come to that: %+v", b.Status())
		}
	}
}

// bans are those found since the last call; write has waited for them.
func (b *bench) bans() []Found {
	var all []Found
	for len(b.found) > 0 {
		all = append(all, <-b.found)
	}
	return all
}

// counts is what the jail called name has seen, without its files.
func (b *bench) counts(name string) JailStatus {
	b.t.Helper()
	for _, s := range b.Status() {
		if s.Name == name {
			s.Files = nil
			return s
		}
	}
	b.t.Fatalf("no jail %s", name)
	return JailStatus{}
}

// failed is sshd's line of n failed logins from addr, at noon.
func failed(addr string, n int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf("%s host sshd[1]: Failed password for root from %s port 4242 ssh2", noon.Local().Format(time.Stamp), addr)
	}
	return lines
}

const sshd = "jails: { sshd: { enabled: true, filter: sshd, logpath: DIR/auth, maxretry: 3 } }\n"

func TestLinesBecomeABan(t *testing.T) {
	b := start(t, sshd)
	b.write("auth", failed("192.0.2.7", 2)...)
	if got := b.bans(); got != nil {
		t.Fatalf("after two failures: %+v", got)
	}
	b.write("auth", failed("192.0.2.7", 1)...)
	want := []Found{{
		Addr: netip.MustParseAddr("192.0.2.7"),
		Ban: ban.Ban{
			Prefix: netip.MustParsePrefix("192.0.2.7/32"),
			Jail:   "sshd",
			Reason: "failed-password",
			Since:  noon,
			End:    noon.Add(12 * time.Hour),
			Quiet:  time.Hour,
		},
		Failures: 3,
		Rule:     "failed-password",
		Trust:    filter.Verified,
	}}
	if got := b.bans(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	status := JailStatus{Name: "sshd", Enabled: true, Filter: "sshd", Lines: 3, Matched: 3, Found: 1, LastMatch: time.Unix(0, noon.UnixNano())}
	if got := b.counts("sshd"); !reflect.DeepEqual(got, status) {
		t.Errorf("got  %+v\nwant %+v", got, status)
	}
}

func TestNeighboursInIPv6CountTogether(t *testing.T) {
	b := start(t, sshd)
	b.write("auth", append(failed("2001:db8::1", 2), failed("2001:db8::2", 1)...)...)
	got := b.bans()
	if len(got) != 1 || got[0].Ban.Prefix != netip.MustParsePrefix("2001:db8::/64") || got[0].Addr != netip.MustParseAddr("2001:db8::2") {
		t.Errorf("got %+v", got)
	}
}

func TestIgnoreIPIsNotCounted(t *testing.T) {
	b := start(t, "defaults: { ignoreip: 192.0.2.0/24 }\njails: { sshd: { enabled: true, filter: sshd, logpath: DIR/auth, maxretry: 1, ignoreip: ['2001:db8::1'] } }\n")
	b.write("auth", append(failed("192.0.2.7", 1), failed("2001:db8::1", 1)...)...)
	if got := b.bans(); got != nil {
		t.Errorf("got %+v", got)
	}
	if got := b.counts("sshd"); got.Allowed != 2 || got.Sources != 0 {
		t.Errorf("%d allowed, %d sources, want 2, 0", got.Allowed, got.Sources)
	}
	b.write("auth", failed("2001:db8::2", 1)...)
	got := b.bans()
	if len(got) != 1 || got[0].Ban.Prefix != netip.MustParsePrefix("2001:db8::2/128") {
		t.Errorf("neighbour of an allowed address: %+v", got)
	}
}

const trusts = `jails:
  refuse: { enabled: true, logpath: DIR/auth, maxretry: 1, failregex: RULES }
  accept: { enabled: true, logpath: DIR/auth, maxretry: 1, failregex: RULES, trust: accept }
  longer: { enabled: true, logpath: DIR/auth, maxretry: 1, failregex: RULES, trust: accept, maxbantime: 3d }
`

func TestTrustDecidesWhetherAndForHowLong(t *testing.T) {
	rules := `[{ name: v, regex: '^ ?v <HOST>$', trust: verified }, { name: s, regex: '^ ?s <HOST>$', trust: spoofable }, { name: u, regex: '^ ?u <HOST>$', trust: untrusted }]`
	b := start(t, "defaults: { bantime: 2d }\n"+strings.ReplaceAll(trusts, "RULES", rules))
	b.write("auth", "v 192.0.2.1", "s 192.0.2.2", "u 192.0.2.3")
	type times struct{ End, Limit time.Duration }
	got := make(map[string]times)
	for _, f := range b.bans() {
		limit := time.Duration(0)
		if !f.Ban.Limit.IsZero() {
			limit = f.Ban.Limit.Sub(noon)
		}
		got[f.Ban.Jail+" "+f.Rule+" "+f.Addr.String()] = times{f.Ban.End.Sub(noon), limit}
	}
	want := map[string]times{
		"refuse v 192.0.2.1": {2 * day, 0}, "refuse s 192.0.2.2": {day, day},
		"accept v 192.0.2.1": {2 * day, 0}, "accept s 192.0.2.2": {day, day}, "accept u 192.0.2.3": {day, day},
		"longer v 192.0.2.1": {2 * day, 3 * day}, "longer s 192.0.2.2": {2 * day, 3 * day}, "longer u 192.0.2.3": {2 * day, 3 * day},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	if n := b.counts("refuse").Untrusted; n != 1 {
		t.Errorf("%d untrusted, want 1", n)
	}
}

// Four packets with a customer's address and his one wrong password are no proof of five.
func TestForgedFailuresBoundTheBanThatTheyLeadTo(t *testing.T) {
	b := start(t, `defaults: { bantime: 2d, maxretry: 3 }
jails:
  pbx: { enabled: true, logpath: DIR/pbx, failregex: [{ regex: '^wrong password <HOST>$', trust: verified }, { regex: '^no such peer <HOST>$', trust: spoofable }] }
`)
	b.write("pbx", "no such peer 192.0.2.1", "no such peer 192.0.2.1", "wrong password 192.0.2.1")
	want := Found{
		Addr: netip.MustParseAddr("192.0.2.1"), Failures: 3, Rule: "failregex-1", Trust: filter.Spoofable,
		Ban: ban.Ban{
			Prefix: netip.MustParsePrefix("192.0.2.1/32"), Jail: "pbx", Reason: "failregex-1",
			Since: noon, End: noon.Add(day), Limit: noon.Add(day), Quiet: time.Hour,
		},
	}
	if got := b.bans(); !reflect.DeepEqual(got, []Found{want}) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestNamesAndIgnoredLinesDoNotBan(t *testing.T) {
	b := start(t, "jails: { a: { enabled: true, logpath: DIR/auth, maxretry: 1, failregex: '^bad <HOST>', ignoreregex: 'robot$' } }\n")
	b.write("auth", "bad host.example.org", "bad 0.0.0.0", "bad ::", "bad 192.0.2.1 robot", "good 192.0.2.1")
	want := JailStatus{Name: "a", Enabled: true, Filter: "a", Lines: 5, Matched: 3, Ignored: 1, Names: 3, LastMatch: time.Unix(0, noon.UnixNano())}
	if got := b.counts("a"); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := b.bans(); got != nil {
		t.Errorf("got %+v", got)
	}
}

func TestDifferentAccountsOfOneSourceCount(t *testing.T) {
	b := start(t, `jails: { app: { enabled: true, logpath: DIR/auth, maxretry: 3, distinct: user,
  failregex: '^<PREFIX>bad password of <F-USER>.*</F-USER> from <HOST>$' } }
`)
	line := func(user string) string {
		return "Nov  9 12:00:00 h app[1]: bad password of " + user + " from 192.0.2.7"
	}
	b.write("auth", line("ann"), line("ann"), line("ann"), line("bob"), line("ann"))
	if found := b.bans(); len(found) != 0 {
		t.Errorf("two accounts ban: %+v", found)
	}
	b.write("auth", line("eve"))
	if found := b.bans(); len(found) != 1 || found[0].Failures != 3 {
		t.Errorf("three accounts: %+v", found)
	}
}

// Jails with one filter look at a line once: hundreds of them on one log take little more than one, and each
// counts for itself.
func TestJailsOfOneFilterLookAtALineTogether(t *testing.T) {
	const many = 200
	taken := func(jails int) uint64 {
		config := new(strings.Builder)
		for i := range jails {
			fmt.Fprintf(config, "  j%d: { enabled: true, logpath: DIR/auth, filter: sshd, maxretry: %d }\n", i, 1+i%2)
		}
		b := start(t, "jails:\n"+config.String())
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b.open(filepath.Join(b.dir, "auth"))([]byte("Nov  9 12:00:00 h sshd[1]: Failed password for root from 192.0.2.7 port 22 ssh2"), true, noon)
		runtime.ReadMemStats(&after)
		for _, s := range b.Status() {
			if s.Lines != 1 || s.Matched != 1 {
				t.Errorf("%s has read %d lines, matched %d", s.Name, s.Lines, s.Matched)
			}
		}
		if got, want := len(b.bans()), (jails+1)/2; got != want {
			t.Errorf("%d of %d jails ban, want %d", got, jails, want)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	if one, all := taken(1), taken(many); all > 4*one {
		t.Errorf("%d jails take %d bytes for a line, one takes %d", many, all, one)
	} else {
		t.Logf("%d jails take %d bytes for a line, one takes %d", many, all, one)
	}
}

func TestJailsReadFiltersOfFail2ban(t *testing.T) {
	b := start(t, `jails: { app: { enabled: true, logpath: DIR/auth, maxretry: 2, filter: DIR/app.yaml, logtimezone: UTC-0100, datepattern: '^at %Y-%m-%d %H:%M:%S' } }
`, `dialect: fail2ban
prefregex: '^ <F-MLFID>app\[\d+\]</F-MLFID>: <F-CONTENT>.+</F-CONTENT>$'
failregex:
  - '^<F-NOFAIL>hello</F-NOFAIL> from <HOST>$'
  - '^bad (?!luck)'
`)
	b.write("auth", "at 2026-11-09 11:00:00 app[1]: hello from 192.0.2.7", "at 2026-11-09 11:00:00 app[1]: bad thing", "at 2026-11-09 11:00:01 app[1]: bad luck")
	if found := b.bans(); len(found) != 0 {
		t.Errorf("one failure bans: %+v", found)
	}
	b.write("auth", "at 2026-11-09 11:00:02 app[1]: bad thing")
	if found := b.bans(); len(found) != 1 || found[0].Addr != netip.MustParseAddr("192.0.2.7") {
		t.Errorf("two failures: %+v", found)
	}
}

func TestARegexThatTakesTooLongIsToldOnce(t *testing.T) {
	var told strings.Builder
	config := mustLoad(t, write(t, "xdpban.yaml", `jails: { app: { enabled: true, logpath: /a, failregex: [{ name: slow, trust: verified, regex: '^(?=a)(?P<x>a+)+(?P=x)b <HOST>$' }] } }
`))
	j, err := newJails(config, func(Found) {}, slog.New(slog.NewTextHandler(&told, nil)), func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	made := (*j.current.Load())[0]
	r := reader{j, made, made.config.Filter.NewReader(time.UTC)}
	for range 3 {
		r.take(r.filter.Read([]byte(strings.Repeat("a", 60)+"cb 192.0.2.7"), noon), true, noon)
	}
	if got := made.timedOut.Load(); got != 3 {
		t.Errorf("%d lines are counted, want 3", got)
	}
	if got := strings.Count(told.String(), "takes too long"); got != 1 || !strings.Contains(told.String(), "rule=slow") {
		t.Errorf("told %d times:\n%s", got, told.String())
	}
}

func TestJailsShareAFileAndAJailHasSeveral(t *testing.T) {
	b := start(t, `jails:
  one: { enabled: true, filter: sshd, logpath: [DIR/auth, DIR/p*], maxretry: 3 }
  two: { enabled: true, filter: sshd, logpath: DIR/a*, maxretry: 2 }
  off: { enabled: false, filter: sshd, logpath: DIR/auth, maxretry: 1 }
`)
	b.write("auth", failed("192.0.2.7", 2)...)
	b.write("pbx", failed("192.0.2.7", 1)...)
	var got []string
	for _, f := range b.bans() {
		got = append(got, f.Ban.Jail)
	}
	if want := []string{"two", "one"}; !reflect.DeepEqual(got, want) {
		t.Errorf("banned by %v, want %v", got, want)
	}
	logs := make(map[string][]string)
	for _, s := range b.Status() {
		for _, f := range s.Files {
			logs[s.Name] = append(logs[s.Name], filepath.Base(f.Path))
		}
	}
	if want := map[string][]string{"one": {"auth", "pbx"}, "two": {"auth"}}; !reflect.DeepEqual(logs, want) {
		t.Errorf("logs %v, want %v", logs, want)
	}
	if n := len(b.follower.Status()); n != 2 {
		t.Errorf("%d files are followed, want 2", n)
	}
}

func TestReloadKeepsCountsOfUnchangedJails(t *testing.T) {
	const jail = "{ enabled: true, filter: sshd, logpath: DIR/auth, maxretry: 3 }"
	tests := map[string]struct {
		next  string
		count int // sources that jail a counts after the reload
	}{
		"the same":             {"jails: { a: " + jail + " }\n", 1},
		"another bantime":      {"defaults: { bantime: 1h, ignoreip: 192.0.2.99 }\njails: { a: " + jail + " }\n", 1},
		"another jail":         {"jails: { a: " + jail + ", b: " + jail + " }\n", 1},
		"another maxretry":     {"jails: { a: " + strings.Replace(jail, "3", "4", 1) + " }\n", 0},
		"another filter":       {"jails: { a: " + strings.Replace(jail, "filter: sshd", "filter: asterisk", 1) + " }\n", 0},
		"one more ignoreregex": {"jails: { a: " + strings.Replace(jail, "filter: sshd", "filter: sshd, ignoreregex: x", 1) + " }\n", 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := start(t, "jails: { a: "+jail+" }\n")
			b.write("auth", failed("192.0.2.7", 2)...)
			b.reload(test.next)
			if got := b.counts("a").Sources; got != test.count {
				t.Errorf("%d sources, want %d", got, test.count)
			}
			b.write("auth", failed("192.0.2.7", 1)...)
			if got := len(b.bans()); got != test.count {
				t.Errorf("%d bans, want %d", got, test.count)
			}
		})
	}
}

func TestRemovedJailForgets(t *testing.T) {
	b := start(t, sshd)
	b.write("auth", failed("192.0.2.7", 2)...)
	b.reload("jails: { other: { enabled: true, filter: sshd, logpath: DIR/auth } }\n")
	b.reload(sshd)
	b.write("auth", failed("192.0.2.7", 1)...)
	if got := b.bans(); got != nil {
		t.Errorf("got %+v", got)
	}
}

func TestReloadOpensAndDropsLogs(t *testing.T) {
	b := start(t, sshd)
	b.reload("jails: { sshd: { enabled: true, filter: sshd, logpath: DIR/pbx, maxretry: 1 } }\n")
	b.write("pbx", failed("192.0.2.7", 1)...)
	if got := b.bans(); len(got) != 1 {
		t.Errorf("got %+v", got)
	}
	if files := b.Status()[0].Files; len(files) != 1 || files[0].Path != filepath.Join(b.dir, "pbx") {
		t.Errorf("got %+v", files)
	}
}

func TestForgetStartsTheCountAnew(t *testing.T) {
	b := start(t, sshd)
	b.write("auth", failed("192.0.2.7", 2)...)
	b.Forget(netip.MustParsePrefix("192.0.2.0/24"))
	b.write("auth", failed("192.0.2.7", 2)...)
	if got := b.bans(); got != nil {
		t.Errorf("got %+v", got)
	}
	b.write("auth", failed("192.0.2.7", 1)...)
	if got := b.bans(); len(got) != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestMissingLogIsReportedAndWaitedFor(t *testing.T) {
	b := start(t, "jails: { sshd: { enabled: true, filter: sshd, logpath: [DIR/later], maxretry: 2 } }\n")
	files := b.Status()[0].Files
	if len(files) != 1 || files[0].Error == "" {
		t.Fatalf("got %+v", files)
	}
	text := strings.Join(failed("192.0.2.7", 2), "\n") + "\n"
	if err := os.WriteFile(filepath.Join(b.dir, "later"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	select {
	case f := <-b.found:
		if f.Addr != netip.MustParseAddr("192.0.2.7") {
			t.Errorf("got %+v", f)
		}
	case <-time.After(patience):
		t.Error("nothing was found")
	}
}

// A jail that no line can reach is told of, with what to do; one that has a log is not.
func TestJailsThatFollowNothingAreTold(t *testing.T) {
	const config = `jails:
  sshd: { enabled: true, filter: sshd, logpath: [DIR/later, DIR/*.none], journalmatch: [_COMM=sshd] }
  app: { enabled: true, filter: sshd, logpath: [DIR/none, DIR/au*] }
  off: { enabled: false, filter: sshd, logpath: DIR/none }
`
	b := start(t, config)
	var told strings.Builder
	b.log = slog.New(slog.NewTextHandler(&told, nil))
	b.reload(config)
	const want = `msg="jail follows nothing: no file of its logpath is there" jail=sshd logpath="[DIR/later DIR/*.none]" hint="name the file`
	if text := strings.ReplaceAll(told.String(), b.dir, "DIR"); strings.Count(text, "\n") != 1 || !strings.Contains(text, want) {
		t.Errorf("got %q, want one line with %q", text, want)
	}
	told.Reset()
	b.reload(strings.ReplaceAll(config, "DIR/later", "DIR/pbx"))
	if told.Len() > 0 {
		t.Errorf("got %q, want nothing", told.String())
	}
}

func TestFailedAt(t *testing.T) {
	tests := map[string]struct {
		age    time.Duration
		live   bool
		back   time.Duration // what it counts as, before now
		counts bool
	}{
		"just now":              {0, true, 0, true},
		"slow logger":           {time.Minute, true, time.Minute, true},
		"wrong zone":            {2 * time.Hour, true, 0, true},
		"from the future":       {-2 * time.Hour, true, 0, true},
		"clock a little ahead":  {-time.Minute, true, -time.Minute, true},
		"backlog":               {9 * time.Minute, false, 9 * time.Minute, true},
		"old backlog":           {11 * time.Minute, false, 11 * time.Minute, false},
		"backlog of the future": {-2 * time.Hour, false, 0, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			at, counts := failedAt(noon.Add(-test.age), test.live, noon, 10*time.Minute)
			if want := noon.Add(-test.back); !at.Equal(want) || counts != test.counts {
				t.Errorf("%v, %t, want %v, %t", at, counts, want, test.counts)
			}
		})
	}
}

// handler is what the lines of the log auth go to.
func handler(t testing.TB, config *Config, log string) source.Handler {
	j, err := newJails(config, func(Found) {}, quiet, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // closes the log
		ctx, stop := context.WithCancel(context.Background())
		stop()
		if err := j.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return j.open(log)
}

func TestMissedLineAllocatesNothing(t *testing.T) {
	path := write(t, "auth", "")
	config := mustLoad(t, write(t, "x.yaml", "jails: { sshd: { enabled: true, filter: sshd, logpath: "+path+" } }\n"))
	read := handler(t, config, path)
	line := []byte("Nov 23 12:00:00 host sshd[1]: Accepted publickey for root from 192.0.2.7 port 4242 ssh2")
	if n := testing.AllocsPerRun(1000, func() { read(line, true, time.Now()) }); n != 0 {
		t.Errorf("%v allocations a line", n)
	}
}

// TestHammeredReload has lines, reloads, Status and Forget come at the same time: for -race.
func TestHammeredReload(t *testing.T) {
	b := start(t, sshd)
	config := b.load(sshd)
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := b.Reload(config); err != nil {
				stopped <- err
				return
			}
			b.Forget(netip.MustParsePrefix("198.51.100.0/24"))
			b.Status()
		}
	}()
	for range 20 {
		b.write("auth", failed("192.0.2.7", 3)...)
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if got := len(b.bans()); got != 20 {
		t.Errorf("%d bans, want 20", got)
	}
}
