package daemon

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xdpban/internal/control"
	"xdpban/internal/lab"
)

// registrar is a second jail, for a log of its own.
func (s *site) registrar() string {
	return "{enabled: true, maxretry: 1, logpath: [" + s.path("sip.log") + "], failregex: [{name: no-extension, regex: '^<PREFIX>no extension for <HOST>$', trust: spoofable}]}"
}

func (s *site) twoJails() keys {
	return keys{"jails": "{sshd: " + s.jail("") + ", registrar: " + s.registrar() + "}"}
}

// refuseCall has the registrar write that source called in vain.
func (s *site) refuseCall(source string) {
	s.Helper()
	log, err := os.OpenFile(s.path("sip.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(s, err)
	defer log.Close()
	_, err = fmt.Fprintf(log, "%s server sip[1]: no extension for %s\n", time.Now().Format(time.Stamp), source)
	must(s, err)
}

// reloads are the ways to ask for a reload, each until it is done.
var reloads = []struct {
	name string
	do   func(s *site)
}{
	{"by the API", func(s *site) {
		reply, err := s.client.Reload(s.Context())
		must(s, err)
		if reply.Config != s.path("xdpban.yaml") || !slices.Contains(reply.Jails, "sshd") {
			s.Errorf("reload: got %+v", reply)
		}
	}},
	{"by SIGHUP", func(s *site) {
		before := strings.Count(s.log(), " reloaded ")
		must(s, s.running.Process.Signal(unix.SIGHUP))
		s.await("the reload", func() bool { return strings.Count(s.log(), " reloaded ") > before })
	}},
}

func TestReloadStartsJailsAndKeepsCounts(t *testing.T) {
	for _, reload := range reloads {
		t.Run(reload.name, func(t *testing.T) {
			s := newSite(t, nativeMTU)
			s.start()
			s.fail(attacker6, 3)
			s.awaitBan(attacker6)
			s.fail(attacker, 2)
			s.configure(s.twoJails())
			reload.do(s)

			s.refuseCall(bystander)
			if b := s.awaitBan(bystander); b.Jail != "registrar" || b.Reason != "no-extension" {
				t.Errorf("ban: got %+v, want one of the new jail", b)
			}
			s.settle()
			s.wantNoBan(attacker)
			s.fail(attacker, 1)
			s.awaitBan(attacker)
			s.wantDrop(attacker, attacker6, bystander)

			s.configure(nil)
			reload.do(s)
			s.refuseCall("192.0.2.99")
			s.settle()
			s.wantNoBan("192.0.2.99")
			s.wantDrop(attacker, attacker6, bystander)
			if jails := s.status().Jails; len(jails) != 1 || jails[0].Name != "sshd" {
				t.Errorf("jails: got %+v, want sshd alone", jails)
			}
			if others, want := s.status().Others, []control.Holder{{Name: "registrar", Bans: 1}}; !slices.Equal(others, want) {
				t.Errorf("others who hold bans: got %+v, want %+v", others, want)
			}
		})
	}
}

func TestBadConfigurationChangesNothing(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.start()
	s.fail(attacker, 2)
	for _, bad := range []struct {
		name    string
		changed keys
		wants   []string
	}{
		{"no YAML", keys{"jails": "{sshd: "}, []string{"xdpban.yaml:"}},
		{"two mistakes", keys{"interface": "[eth0]", "defaults": "{maxretry: none}"}, []string{"interface", "maxretry"}},
		{"a bad regex", keys{"jails": "{sshd: {enabled: true, failregex: ['^(<HOST>'], logpath: [/x]}}"}, []string{"jail sshd", "failregex"}},
		{"no such filter", keys{"jails": "{sshd: {enabled: true, filter: nosuch, logpath: [/x]}}"}, []string{"jail sshd", "nosuch"}},
	} {
		s.configure(bad.changed)
		_, err := s.client.Reload(t.Context())
		answer, ok := err.(*control.Error)
		if !ok || answer.Kind != control.BadSetup || answer.Hint != "the running configuration stays" {
			t.Fatalf("%s: got %v", bad.name, err)
		}
		before := strings.Count(s.log(), "reload refused")
		must(t, s.running.Process.Signal(unix.SIGHUP))
		s.await("the refusal", func() bool {
			return strings.Count(s.log(), "reload refused") >= before+len(strings.Split(answer.Text, "\n"))
		})
		for _, want := range bad.wants {
			if !strings.Contains(answer.Text, want) || !strings.Contains(s.log(), want) {
				t.Errorf("%s: got %q, want %q in it and in the log", bad.name, answer.Text, want)
			}
		}
	}
	s.settle()
	s.wantNoBan(attacker)
	s.fail(attacker, 1)
	s.awaitBan(attacker)
	s.wantDrop(attacker)
}

func TestReloadMovesToOtherInterfaces(t *testing.T) {
	s := newSite(t, nativeMTU)
	must(t, lab.Connect(s.server, "eth1", s.peer, "eth1"))
	s.start()
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	s.wantDrop(attacker)
	for _, step := range []struct {
		selection string
		want      map[string]string
		drop      bool
	}{
		{"[eth1]", map[string]string{"eth1": "native"}, false},
		{"['eth*']", map[string]string{"eth0": "native", "eth1": "native"}, true},
		{"[eth0]", map[string]string{"eth0": "native"}, true},
	} {
		s.configure(keys{"interfaces": step.selection})
		reloads[0].do(s)
		if got := s.interfaces(); !maps.Equal(got, step.want) {
			t.Errorf("interfaces %s: got %v, want %v", step.selection, got, step.want)
		}
		if step.drop {
			s.wantDrop(attacker)
		} else {
			s.wantPass(attacker)
		}
	}
}

func TestKeysThatTakeARestartAreRefused(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.start()
	for key, value := range map[string]string{
		"socket": s.path("other"), "pin": s.pin() + "-other", "enforce": "observe", "ipv6_prefix": "56",
		"maxbans": "5000", "maxprefixes": "5000", "maxallowed": "5000", "maxline": "5000", "maxlag": "5000",
	} {
		changed := s.twoJails()
		changed[key] = value
		s.configure(changed)
		_, err := s.client.Reload(t.Context())
		want := control.Error{Kind: control.BadSetup, Text: key + " changed, which takes a restart; the running configuration stays", Hint: "restart the daemon: bans stay in force meanwhile"}
		if answer, ok := err.(*control.Error); !ok || *answer != want {
			t.Errorf("%s: got %v, want %v", key, err, want.Text)
		}
	}
	if jails := s.status().Jails; len(jails) != 1 {
		t.Errorf("jails: got %+v, want those of before", jails)
	}
}

// Whoever rotates our log tells us with SIGHUP.
func TestReloadOpensTheLogAnew(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.start()
	must(t, os.Rename(s.path("xdpban.log"), s.path("xdpban.log.1")))
	reloads[1].do(s)
	if got := s.log(); !strings.Contains(got, " reloaded ") || strings.Contains(got, " started ") {
		t.Errorf("the new log: %q", got)
	}
}

func TestReloadOfIgnoreIPEndsBans(t *testing.T) {
	s := newSite(t, nativeMTU)
	s.start()
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	s.configure(keys{"defaults": "{maxretry: 3, ignoreip: ['" + attacker + "']}"})
	reloads[0].do(s)
	s.wantNoBan(attacker)
	s.wantPass(attacker)
	s.fail(attacker, 3)
	s.settle()
	s.wantNoBan(attacker)

	s.configure(nil)
	reloads[0].do(s)
	s.fail(attacker, 3)
	s.awaitBan(attacker)
	s.wantDrop(attacker)
}

// A daemon that runs without its log is not one that takes no configuration.
func TestReloadWithoutALog(t *testing.T) {
	s := newSite(t, nativeMTU)
	changed := s.twoJails()
	changed["logtarget"] = "SYSLOG" // nobody listens there
	s.configure(changed)
	s.start()
	reloads[0].do(s)
	changed["logtarget"] = s.path("missing/xdpban.log")
	s.configure(changed)
	if _, err := s.client.Reload(t.Context()); err == nil {
		t.Error("a log that cannot be opened was taken")
	}
}
