package doctor

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"xdpban/internal/control"
	"xdpban/internal/lab"
	"xdpban/jails"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// log writes a log that was written an hour before noon.
func log(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "auth.log")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, noon, noon.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLogsThatADaemonFollows(t *testing.T) {
	enabled := func(j control.Jail) *control.Status {
		j.Name, j.Enabled = "sshd", true
		return &control.Status{Jails: []control.Jail{j}}
	}
	for _, test := range []struct {
		name string
		jail control.Jail
		want []Finding
	}{
		{"lines come", control.Jail{LastMatch: noon.Add(-time.Minute), Logs: []control.Log{{Path: "/log", Last: noon.Add(-time.Second)}}},
			[]Finding{{OK, "log of sshd", "/log: last line 1s ago, last match 1m0s ago", "", ""}}},
		{"nothing matches", control.Jail{Logs: []control.Log{{Path: "/log", Last: noon.Add(-time.Second)}}},
			[]Finding{{OK, "log of sshd", "/log: last line 1s ago, no match yet", "", ""}}},
		{"no line yet", control.Jail{Logs: []control.Log{{Path: "/log"}}},
			[]Finding{{Note, "log of sshd", "/log: no line since the daemon started, no match yet", "attackers who are in another file are not found", "see whether it is the right one: xdpban explain"}}},
		{"a problem", control.Jail{Logs: []control.Log{{Path: "/log", Problem: "there is no such file"}}},
			[]Finding{{Bad, "log of sshd", "/log: there is no such file", "attackers who are in no other log are not found", "see logpath"}}},
		{"one of two is not there", control.Jail{Logs: []control.Log{{Path: "/log", Last: noon.Add(-time.Second)}, {Path: "/nowhere/log", Problem: "open /nowhere/log: no such file or directory"}}},
			[]Finding{
				{OK, "log of sshd", "/log: last line 1s ago, no match yet", "", ""},
				{Note, "log of sshd", "/nowhere/log: there is no such file", "the daemon waits for it, and follows another of the jail's", "nothing, if this host has no such log; else see logpath"},
			}},
		{"neither is there", control.Jail{Logs: []control.Log{{Path: "/nowhere/*.log", Problem: "no file matches"}, {Path: "/nowhere/log", Problem: "open /nowhere/log: no such file or directory"}}},
			[]Finding{
				{Bad, "log of sshd", "/nowhere/*.log: no file matches", "attackers who are in no other log are not found", "see logpath"},
				{Bad, "log of sshd", "/nowhere/log: open /nowhere/log: no such file or directory", "attackers who are in no other log are not found", "see logpath"},
			}},
		{"one of two cannot be read", control.Jail{Logs: []control.Log{{Path: "/log", Last: noon.Add(-time.Second)}, {Path: "/", Problem: "open /: is a directory"}}},
			[]Finding{
				{OK, "log of sshd", "/log: last line 1s ago, no match yet", "", ""},
				{Bad, "log of sshd", "/: open /: is a directory", "attackers who are in no other log are not found", "see logpath"},
			}},
		{"another clock", control.Jail{Stale: 7},
			[]Finding{{Note, "log of sshd", "7 matches were too old to count when they were read", "who writes them has another clock or time zone, or wrote late", "compare a line's date with date(1); see logtimezone"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := &examination{Host: Host{Config: new(jails.Config), Now: noon}, status: enabled(test.jail)}
			e.logs()
			if !reflect.DeepEqual(e.findings, test.want) {
				t.Errorf("got %+v, want %+v", e.findings, test.want)
			}
		})
	}
}

func TestLogsThatNobodyFollows(t *testing.T) {
	path := log(t)
	e := &examination{Host: Host{Now: noon, Config: &jails.Config{Jails: []jails.JailConfig{
		{Name: "sshd", Enabled: true, Logpath: []string{path, "/nowhere/*.log"}},
		{Name: "off", Logpath: []string{"/nowhere"}},
	}}}}
	e.logs()
	want := []Finding{
		{OK, "log of sshd", path + ": written 1h0m0s ago", "", ""},
		{Note, "log of sshd", "/nowhere/*.log: there is no such file", "a daemon waits for it", "see logpath"},
	}
	if !reflect.DeepEqual(e.findings, want) {
		t.Errorf("got %+v, want %+v", e.findings, want)
	}
}

func TestWhoIsNeverBannedAndWhy(t *testing.T) {
	allowed := []control.Allowed{
		{Prefix: netip.MustParsePrefix("127.0.0.0/8"), Origin: "ignoreip"},
		{Prefix: netip.MustParsePrefix("192.0.2.1/32"), Origin: "address of eth0"},
		{Prefix: netip.MustParsePrefix("192.0.2.9/32"), Origin: "ignoreip"},
	}
	lists := []Finding{
		{OK, "never banned", "ignoreip: 127.0.0.0/8 192.0.2.9", "", ""},
		{OK, "never banned", "address of eth0: 192.0.2.1", "", ""},
	}
	lack := Finding{Note, "never banned", "list addresses: no", "an entry that is missing could be banned", "name it in ignoreip"}
	for _, test := range []struct {
		name   string
		host   Host
		status *control.Status
		want   []Finding
	}{
		{"a daemon says", Host{Unknown: errors.New("list addresses: no")}, &control.Status{Allowed: allowed}, lists},
		{"no daemon runs", Host{Allowed: allowed}, nil, lists},
		{"not all is known", Host{Allowed: allowed, Unknown: errors.New("list addresses: no")}, nil, append([]Finding{lack}, lists...)},
	} {
		e := &examination{Host: test.host, status: test.status}
		e.allowed()
		if !reflect.DeepEqual(e.findings, test.want) {
			t.Errorf("%s: got %+v, want %+v", test.name, e.findings, test.want)
		}
	}
}

// Whoever reads that something is not well reads what follows and what to do, on one screen.
func TestFindingsSayWhatToDo(t *testing.T) {
	lab.Require(t)
	config, err := jails.Load("../../configs/xdpban.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, enforce := range []jails.Enforce{jails.Auto, jails.XDP, jails.IPTables, jails.Observe} {
		config.Enforce = enforce
		findings := Examine(t.Context(), Host{Config: config, Client: control.NewClient("/run/nowhere"), Now: noon})
		lines := 0
		for _, f := range findings {
			lines++
			if f.State != OK {
				lines += 2
			}
			if f.About == "" || f.Found == "" || (f.State != OK) != (f.Meaning != "") || (f.State != OK) != (f.Next != "") {
				t.Errorf("enforce: %v: %+v", enforce, f)
			}
		}
		if lines > 40 {
			t.Errorf("%d lines are more than a screen: %+v", lines, findings)
		}
	}
}
