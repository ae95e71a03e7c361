package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"xdpban/jails/filter"
)

// undecidedSpec keeps sessions, and its last rule takes for ever on a line of many a.
const undecidedSpec = `dialect: fail2ban
failregex:
  - '^<F-MLFID>app\d</F-MLFID> <F-NOFAIL>hello</F-NOFAIL> from <HOST>$'
  - '^<F-MLFID>app\d</F-MLFID> bad$'
  - { name: slow, regex: '^(a+)+\1b <HOST>$' }
`

func TestUndecidedLinesAreTold(t *testing.T) {
	spec, err := filter.Parse("f.yaml", []byte(undecidedSpec))
	if err != nil {
		t.Fatal(err)
	}
	f, err := filter.New("f", spec, filter.Normal)
	if err != nil {
		t.Fatal(err)
	}
	hostile := strings.Repeat("a", 60) + "cb 192.0.2.7"
	log := "app1 hello from 192.0.2.7\napp1 bad\n" + hostile + "\n" + hostile + "\nother\n"
	read := func(t *trial, tell teller) error { return t.read(strings.NewReader(log), tell, nil) }

	var out bytes.Buffer
	people := &trial{filter: f, now: time.Unix(1_800_000_000, 0), zone: time.UTC}
	if err := read(people, people.tell(&out)); err != nil {
		t.Fatal(err)
	}
	people.report(&out)
	for _, want := range []string{
		", 1 of sessions without a failure so far, 2 undecided\n",
		"\nslow takes too long on 2 lines: whether it matches there nobody knows\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}

	out.Reset()
	machines := &trial{filter: f, now: time.Unix(1_800_000_000, 0), zone: time.UTC}
	if err := read(machines, machines.tellJSON(&out)); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || lines[2] != `{"line":4,"match":false,"timed_out":["slow"],"text":"`+hostile+`"}` {
		t.Errorf("got\n%s", out.String())
	}
}

func TestIgnoredBeforeRulesAreTried(t *testing.T) {
	spec, err := filter.Parse("f.yaml", []byte("dialect: fail2ban\nfailregex: ['^a <HOST>', '^b <HOST>', '^c <HOST>', '^d <HOST>']\nignoreregex: robot\n"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := filter.New("f", spec, filter.Normal)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	tr := &trial{filter: f, now: time.Unix(1_800_000_000, 0), zone: time.UTC, printIgnored: true}
	if err := tr.read(strings.NewReader("a 192.0.2.7 robot\n"), tr.tell(&out), nil); err != nil {
		t.Fatal(err)
	}
	if want := "ignored 1: a 192.0.2.7 robot\n    before rules are tried\n"; out.String() != want {
		t.Errorf("got  %q\nwant %q", out.String(), want)
	}
}
