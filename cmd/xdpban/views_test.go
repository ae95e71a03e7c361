package main

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"xdpban/internal/control"
	"xdpban/internal/doctor"
	"xdpban/jails"
)

var noon = time.Date(2026, 11, 9, 12, 0, 0, 0, time.UTC)

func before(d time.Duration) time.Time { return noon.Add(-d) }

var sshdJail = control.Jail{
	Name: "sshd", Enabled: true, Filter: "sshd", Bans: 2, Banned: 12, Lines: 123456, Matched: 4321, Ignored: 1, Allowed: 2, Untrusted: 3,
	Names: 4, Stale: 5, TimedOut: 8, Sources: 6, Forgotten: 7, LastMatch: before(time.Second), Logs: []control.Log{
		{Path: "/var/log/auth.log", Lag: 1500, Lines: 123456, TooLong: 1, Skipped: 4000, Torn: 2, Waking: "inotify", Last: before(time.Second)},
		{Path: "/var/log/a\x1b[2J", Lag: 1000, Waking: "polling: no watches left"},
	},
}

func TestStatusForPeople(t *testing.T) {
	status := control.Status{
		Version: "1.0", PID: 42, Since: before(26 * time.Hour), Config: "/etc/xdpban/xdpban.yaml",
		Interfaces: []control.Interface{
			{Name: "eth0", Mode: "native", Since: before(time.Hour)},
			{Name: "wg0", Mode: "none", Reasons: []string{"native: operation not supported", "generic: busy"}},
		},
		Chain:  control.Chain{Notes: []string{"IPv4: ipset by iptables-nft"}, Mended: 2, Last: "IPv4: OFFENDINGIPS was not called from INPUT", At: before(time.Minute)},
		Faults: []string{"wg0: attach xdp to wg0: busy"},
		Bans:   control.Use{Live: 2, Max: 131072, Total: 12, Missing: 3, Evicted: 1, Repaired: 2, Unknown: 1, Refused: 5},
		Rooms: []control.Room{
			{Of: "bans by log", Used: 2, Max: 131072, Size: 262144, Key: "maxbans"},
			{Of: "allow list", Used: 4095, Max: 4096, Size: 8192, Key: "maxallowed"},
		},
		Packets: control.Packets{Dropped: 1234567, DroppedBytes: 98765432},
		Jails: []control.Jail{
			{Name: "asterisk", Filter: "asterisk"},
			{Name: "postfix", Filter: "postfix", Bans: 7, Banned: 9},
			sshdJail,
			{Name: "web", Enabled: true, Logs: []control.Log{{Path: "/var/log/w.log", Problem: "permission denied"}}},
		},
		Others: []control.Holder{{Name: "manual", Bans: 1234}, {Name: "shop", Bans: 1}},
	}
	const want = `xdpban 1.0, up 1d2h, pid 42, configuration /etc/xdpban/xdpban.yaml
2 bans in force, 12 made; 1,234,567 packets dropped (98.8 MB)
REFUSED: 5 bans that logs led to, for want of room: raise maxbans
LOST: 3 bans left the kernel before they ended: raise maxbans
PUT BACK: 2 bans that the kernel had lost, 1 of them for want of room
UNKNOWN: 1 ban in the kernel that nobody wants: xdpban verify lists them
PUT BACK: the chain, 2 times, last 1m ago: IPv4: OFFENDINGIPS was not called from INPUT
FAULT: wg0: attach xdp to wg0: busy

INTERFACE  MODE    SINCE   WHY
eth0       native  1h ago
wg0        none    never   native: operation not supported; generic: busy
IPv4: ipset by iptables-nft

TABLE        USED   ROOM     BY
bans by log  2      131,072  maxbans
allow list   4,095  4,096    maxallowed

JAIL              BANS   MADE  MATCHED  LINES    COUNTING  LAST MATCH  LAG
postfix (off)     7
sshd              2      12    4,321    123,456  6         1s ago      2.5 kB
web               0      0     0        0        0         never       see: /var/log/w.log: permission denied
manual (by hand)  1,234
shop (gone)       1

1 jail off (xdpban check --all lists them): asterisk
`
	out := new(strings.Builder)
	if printStatus(out, status, noon); out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

func TestJailForPeople(t *testing.T) {
	const want = `jail                    sshd
filter                  sshd
bans in force           2
bans made               12
lines read              123,456
matched                 4,321
ignored by ignoreregex  1
from allowed addresses  2
untrusted addresses     3
names, not addresses    4
too old when read       5
a regex took too long   8
sources counted now     6
sources forgotten       7
last match              1s ago

LOG                LINES    TOO LONG  TORN  SKIPPED  LAG     LAST LINE  WOKEN BY                  PROBLEM
/var/log/auth.log  123,456  1         2     4.0 kB   1.5 kB  1s ago     inotify
/var/log/a\x1b[2J  0        0         0     0 B      1.0 kB  never      polling: no watches left
`
	out := new(strings.Builder)
	if printJail(out, sshdJail, noon); out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	out.Reset()
	if printJail(out, control.Jail{Name: "web", Filter: "web", Bans: 1}, noon); out.String() != "web is off; filter web; 1 ban in force\n" {
		t.Errorf("a jail that is off: %s", out)
	}
}

func TestVerdictsForPeople(t *testing.T) {
	verdicts := []control.Verdict{
		{Interface: "eth0", Mode: "native", Verdict: control.Drop, By: &control.Ban{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Jail: "manual", End: noon.Add(2 * time.Hour)}},
		{Interface: "ppp0", Mode: "none", Verdict: control.Pass, Note: "nothing is enforced there"},
	}
	const want = `INTERFACE  MODE    VERDICT  BAN           JAIL    LEFT  NOTE
eth0       native  DROP     192.0.2.0/24  manual  2h
ppp0       none    PASS     none                        nothing is enforced there
`
	out := new(strings.Builder)
	if printVerdicts(out, verdicts, noon); out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	out.Reset()
	if printVerdicts(out, nil, noon); out.String() != "PASS: bans are enforced on no interface\n" {
		t.Errorf("without interfaces: %s", out)
	}
}

func TestFindingsForPeople(t *testing.T) {
	findings := []doctor.Finding{
		{State: doctor.OK, About: "kernel", Found: "Linux 6.1"},
		{State: doctor.Bad, About: "eth0", Found: "another\x1b program", Meaning: "no ban is in force there", Next: "take it off"},
	}
	const want = `kernel       Linux 6.1
eth0    BAD  another\x1b program
               so:   no ban is in force there
               next: take it off
`
	out := new(strings.Builder)
	if printFindings(out, findings); out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

func TestBansForPeople(t *testing.T) {
	bans := []control.Ban{
		{Prefix: netip.MustParsePrefix("192.0.2.7/32"), Jail: "sshd", Reason: "failed-password", Since: before(time.Hour),
			End: noon.Add(11 * time.Hour), Packets: 1234, Bytes: 56789, Seen: before(3 * time.Second), Refreshes: 12},
		{Prefix: netip.MustParsePrefix("2001:db8::/64"), Jail: "manual", Reason: "\u202ex", Since: noon, End: noon.Add(90 * time.Second)},
	}
	const want = `SOURCE         JAIL    REASON           SINCE   LEFT   PACKETS  BYTES    LAST SEEN  REFRESHED
192.0.2.7      sshd    failed-password  1h ago  11h    1,234    56.8 kB  3s ago     12
2001:db8::/64  manual  \u202ex          now     1m30s  0        0 B      never      0
`
	for name, bans := range map[string][]control.Ban{want: bans, "nobody is banned\n": nil} {
		out := new(strings.Builder)
		table := &banTable{out: out, now: noon}
		for _, b := range bans {
			if err := table.add(b); err != nil {
				t.Fatal(err)
			}
		}
		if err := table.end(); err != nil || out.String() != name {
			t.Errorf("got\n%s\nwant\n%s", out, name)
		}
	}
}

// A list of many is printed in parts, and so that a part before looks as if it were the whole.
func TestManyBansForPeople(t *testing.T) {
	out := new(strings.Builder)
	table := &banTable{out: out, now: noon}
	add := func(prefix string, times int) {
		for range times {
			if err := table.add(control.Ban{Prefix: netip.MustParsePrefix(prefix), Jail: "j", End: noon.Add(time.Hour)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	add("192.0.2.7/32", rowsAtOnce)
	if lines := strings.Count(out.String(), "\n"); lines != rowsAtOnce {
		t.Errorf("%d lines are out, want %d", lines, rowsAtOnce)
	}
	add("2001:db8:0:1:2:3:4:5/128", 1)
	if err := table.end(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if want := "192.0.2.7  j             never  1h    0        0 B    never      0"; lines[rowsAtOnce-1] != want {
		t.Errorf("got  %q\nwant %q", lines[rowsAtOnce-1], want)
	}
	if want := "2001:db8:0:1:2:3:4:5  j             never  1h    0        0 B    never      0"; lines[rowsAtOnce+1] != want {
		t.Errorf("got  %q\nwant %q", lines[rowsAtOnce+1], want)
	}
}

// A list in parts is the JSON that it would be in one piece.
func TestJSONInPartsIsTheSame(t *testing.T) {
	bans := []control.Ban{
		{Prefix: netip.MustParsePrefix("192.0.2.7/32"), Jail: "a<b", Since: noon, End: noon},
		{Prefix: netip.MustParsePrefix("2001:db8::/64"), Reason: "\u202ex", Since: noon, End: noon},
	}
	for n := range len(bans) + 1 {
		want, got := new(strings.Builder), new(strings.Builder)
		if err := writeJSON(want, bans[:n], "  "); err != nil {
			t.Fatal(err)
		}
		list := jsonList[control.Ban]{out: got}
		for _, b := range bans[:n] {
			if err := list.add(b); err != nil {
				t.Fatal(err)
			}
		}
		if err := list.end(); err != nil || got.String() != want.String() {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}

// The filters that check knows by their names are there.
func TestFiltersThatCheckKnowsAreThere(t *testing.T) {
	for _, name := range accessLogFilters {
		f, _, err := jails.FindFilter("", name)
		if err != nil || !readsAccessLogs(f) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range append(slices.Collect(maps.Keys(errorLogRules)), sipServers...) {
		if f, _, err := jails.FindFilter("", name); err != nil || readsAccessLogs(f) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
