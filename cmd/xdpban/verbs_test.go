package main

import (
	"strings"
	"testing"
)

func TestHelpOfEveryVerbHasAnExample(t *testing.T) {
	for _, verb := range verbs {
		name := verb(new(program)).Name()
		out := new(strings.Builder)
		p := &program{stdout: out, stderr: out}
		if code := p.run([]string{name, "--help"}); code != 0 {
			t.Errorf("%s --help ends with %d", name, code)
		}
		_, rest, found := strings.Cut(out.String(), "\nExamples:\n")
		examples, _, _ := strings.Cut(rest, "\n\n")
		if !found || !strings.Contains(examples, "xdpban "+name) {
			t.Errorf("the help of %s has no example:\n%s", name, out)
		}
		if !strings.HasSuffix(out.String(), exits) {
			t.Errorf("the help of %s does not say the exit codes", name)
		}
	}
}

func TestExamplesAreWellFormed(t *testing.T) {
	for _, verb := range verbs {
		for line := range strings.Lines(verb(new(program)).Example) {
			if !strings.HasPrefix(line, "  ") || !strings.Contains(line, "xdpban ") {
				t.Errorf("%q is no example", line)
			}
		}
	}
}

func TestHelpListsTheVerbsInTheirOrder(t *testing.T) {
	out := new(strings.Builder)
	p := &program{stdout: out, stderr: out}
	if code := p.run(nil); code != 0 {
		t.Errorf("ends with %d", code)
	}
	_, rest, _ := strings.Cut(out.String(), "\nAvailable Commands:\n")
	list, _, _ := strings.Cut(rest, "\n\n")
	var got []string
	for line := range strings.Lines(list) {
		got = append(got, strings.Fields(line)[0])
	}
	const want = "run check regex dry-run explain filters status bans ban unban verify reload doctor detach import demo version completion help"
	if strings.Join(got, " ") != want {
		t.Errorf("the help lists %s, want %s", got, want)
	}
}
