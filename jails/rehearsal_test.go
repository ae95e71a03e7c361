package jails

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xdpban/internal/ban"
	"xdpban/jails/filter"
)

// rehearse reads log with the only jail of a configuration.
func rehearse(t *testing.T, jail, log string) *Rehearsal {
	t.Helper()
	path := filepath.Join(t.TempDir(), "xdpban.yaml")
	text := "jails:\n  app:\n    logpath: /var/log/app\n    failregex:\n" +
		"      - { name: bad, trust: verified, regex: '^<PREFIX>bad from <HOST>$' }\n" +
		"      - { name: said, trust: untrusted, regex: '^<PREFIX>said <HOST>$' }\n" + jail
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	config, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := config.Rehearse("app", time.UTC, false)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(log) {
		r.Read([]byte(strings.TrimSpace(line)), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	}
	return r
}

func TestARehearsalBansByTheTimesOfTheLines(t *testing.T) {
	r := rehearse(t, "    maxretry: 2\n    bantime: 1h\n    quiettime: 30m\n    ignoreip: 192.0.2.99\n", `
		Nov  9 10:00:00 h app[1]: bad from 192.0.2.7
		Nov  9 10:20:00 h app[1]: bad from 192.0.2.7
		Nov  9 10:20:01 h app[1]: bad from 192.0.2.99
		Nov  9 10:20:02 h app[1]: bad from localhost
		Nov  9 10:20:03 h app[1]: said 192.0.2.8
		Nov  9 10:21:00 h app[1]: bad from 192.0.2.7
		Nov  9 10:22:00 h app[1]: bad from 192.0.2.7
		h app[1]: bad from 192.0.2.7
		Nov  9 11:20:00 h app[1]: bad from 192.0.2.7
		Nov  9 11:50:00 h app[1]: bad from 192.0.2.7
		Nov  9 11:50:01 h app[1]: bad from 192.0.2.7
		Nov  9 11:00:00 h app[1]: bad from 192.0.2.8
		Nov  9 11:51:00 h app[1]: hello
	`)
	day := time.Date(2026, 11, 9, 0, 0, 0, 0, time.UTC)
	seven := netip.MustParseAddr("192.0.2.7")
	made := func(since, end time.Duration, kept int) Rehearsed {
		return Rehearsed{
			Found: Found{Addr: seven, Failures: 2, Rule: "bad", Trust: filter.Verified, Ban: ban.Ban{
				Prefix: netip.PrefixFrom(seven, 32), Jail: "app", Reason: "bad", Since: day.Add(since), End: day.Add(end), Quiet: 30 * time.Minute,
			}},
			Kept: kept,
		}
	}
	var got, want []string
	for _, b := range r.Bans() {
		got = append(got, fmt.Sprintf("%+v", *b))
	}
	for _, b := range []Rehearsed{
		made(10*time.Hour+21*time.Minute, 11*time.Hour+50*time.Minute, 3),
		made(11*time.Hour+50*time.Minute+time.Second, 12*time.Hour+50*time.Minute+time.Second, 0),
	} {
		want = append(want, fmt.Sprintf("%+v", b))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if end := day.Add(11*time.Hour + 51*time.Minute); !r.End(day.Add(24 * time.Hour)).Equal(end) {
		t.Errorf("ends at %v, want %v", r.End(day.Add(24*time.Hour)), end)
	}
	s := r.Status()
	s.Filter, s.LastMatch, s.Sources = "", time.Time{}, 0
	if want := (JailStatus{Name: "app", Lines: 15, Matched: 9, Allowed: 1, Untrusted: 1, Names: 1, Stale: 1, Found: 2}); fmt.Sprint(s) != fmt.Sprint(want) {
		t.Errorf("got  %+v\nwant %+v", s, want)
	}
}

func TestThereIsNoRehearsalOfAJailThatIsNotThere(t *testing.T) {
	config, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	_, err = config.Rehearse("sshdd", time.UTC, false)
	if want := `there is no jail "sshdd" (did you mean sshd?)`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
