package lab_test

import (
	"log/syslog"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"xdpban/internal/lab"
)

func TestSyslogWritesLinesLikeSyslogd(t *testing.T) {
	lab.Require(t)
	path := filepath.Join(t.TempDir(), "syslog")
	daemon, err := lab.StartSyslog(path, "sip")
	check(t, err)
	w, err := syslog.New(syslog.LOG_AUTH|syslog.LOG_INFO, "sshd")
	check(t, err)
	check(t, w.Info("Failed password for \x1b[0m from 192.0.2.7"))
	check(t, w.Close())

	want := regexp.MustCompile(`^\w{3} [ \d]\d \d\d:\d\d:\d\d sip sshd\[\d+\]: Failed password for #033\[0m from 192\.0\.2\.7\n$`)
	var got []byte
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end) && len(got) == 0; time.Sleep(time.Millisecond) {
		got, err = os.ReadFile(path)
		check(t, err)
	}
	check(t, daemon.Close())
	if !want.Match(got) {
		t.Errorf("got %q, want %v", got, want)
	}
	if _, err := os.Stat("/dev/log"); err == nil {
		t.Error("/dev/log is left behind")
	}
}
