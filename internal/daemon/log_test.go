package daemon

import (
	"bufio"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xdpban/internal/lab"
)

// logTo is a log that writes to the file path.
func logTo(t *testing.T, path string) *Log {
	t.Helper()
	l := NewLog()
	must(t, l.Open(path, slog.LevelInfo))
	return l
}

var stamp = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(?:Z|[+-]\d\d:\d\d) `)

// logged is the lines of the log file path, without the times that they begin with.
func logged(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	lines := []string{}
	for line := range strings.Lines(string(text)) {
		at := stamp.FindString(line)
		if at == "" || !strings.HasSuffix(line, "\n") {
			t.Errorf("%q is not a line of a log", line)
		}
		lines = append(lines, strings.TrimSuffix(line[len(at):], "\n"))
	}
	return lines
}

func TestLogQuotesWhatOthersWrote(t *testing.T) {
	for _, test := range []struct {
		value any
		want  string
	}{
		{"failed-password", "failed-password"},
		{"", ""},
		{42, "n=42"},
		{12 * time.Hour, "12h0m0s"},
		{netip.MustParsePrefix("2001:db8::/64"), "2001:db8::/64"},
		{"two words", `"two words"`},
		{"a=b", "a=b"},
		{`say "hello"`, `"say \"hello\""`},
		{`back\slash`, `"back\\slash"`},
		{"\x1b[2J\x1b]0;owned\a", `"\x1b[2J\x1b]0;owned\a"`},
		{"x\nNov 23 10:00:00 h sshd[1]: Failed password for root from 192.0.2.1", `"x\nNov 23 10:00:00 h sshd[1]: Failed password for root from 192.0.2.1"`},
		{"x\r\x00\x7f", `"x\r\x00\x7f"`},
		{"schlüssel\u202e", `"schl\u00fcssel\u202e"`},
		{"\xff\xc3", `"\xff\xc3"`},
		{"\u009b2J", `"\u009b2J"`},
		{errors.New("open /x: no such file"), `"open /x: no such file"`},
	} {
		path := filepath.Join(t.TempDir(), "log")
		logTo(t, path).Info("banned", "n", test.value)
		want := "INFO  banned"
		if test.want != "" {
			want += " n=" + strings.TrimPrefix(test.want, "n=")
		}
		if got := logged(t, path); !slices.Equal(got, []string{want}) {
			t.Errorf("%q: got %q, want %q", test.value, got, want)
		}
	}
}

func TestLogKeepsItsLevel(t *testing.T) {
	for level, want := range map[slog.Level][]string{
		slog.LevelDebug: {"DEBUG say", "INFO  say", "WARN  say", "ERROR say"},
		slog.LevelInfo:  {"INFO  say", "WARN  say", "ERROR say"},
		slog.LevelWarn:  {"WARN  say", "ERROR say"},
		slog.LevelError: {"ERROR say"},
	} {
		path := filepath.Join(t.TempDir(), "log")
		l := NewLog()
		must(t, l.Open(path, level))
		for _, say := range []func(string, ...any){l.Debug, l.Info, l.Warn, l.Error} {
			say("say")
		}
		if got := logged(t, path); !slices.Equal(got, want) {
			t.Errorf("%v: got %q, want %q", level, got, want)
		}
	}
}

func TestLogMovesToAnotherTarget(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	l := logTo(t, first)
	part := l.With("jail", "sshd") // goes where the log goes
	part.Info("one")
	if err := l.Open(filepath.Join(dir, "missing", "log"), slog.LevelDebug); err == nil {
		t.Error("a log in a directory that is not there was opened")
	}
	part.Info("two")
	part.Debug("not said: the level of a target that could not be opened")
	must(t, l.Open(second, slog.LevelWarn))
	part.Warn("three", "file", "auth.log")
	part.Info("not said")
	if got, want := logged(t, first), []string{"INFO  one jail=sshd", "INFO  two jail=sshd"}; !slices.Equal(got, want) {
		t.Errorf("first: got %q, want %q", got, want)
	}
	if got, want := logged(t, second), []string{"WARN  three jail=sshd file=auth.log"}; !slices.Equal(got, want) {
		t.Errorf("second: got %q, want %q", got, want)
	}
}

func TestLogReachesSyslog(t *testing.T) {
	lab.Require(t)
	path := filepath.Join(t.TempDir(), "syslog")
	syslog, err := lab.StartSyslog(path, "server")
	must(t, err)
	l := NewLog()
	must(t, l.Open("SYSLOG", slog.LevelDebug))
	for _, say := range []func(string, ...any){l.Debug, l.Info, l.Warn, l.Error} {
		say("say", "what", "a\nb")
	}
	must(t, l.Open("STDERR", slog.LevelError))
	line := regexp.MustCompile(`(?m)^.{15} server xdpban\[\d+\]: say what="a\\nb"$`)
	var text []byte
	for end := time.Now().Add(patience); len(line.FindAll(text, -1)) < 4; time.Sleep(time.Millisecond) {
		if text, err = os.ReadFile(path); err != nil || time.Now().After(end) {
			t.Fatalf("got %q, %v, want 4 lines", text, err)
		}
	}
	must(t, syslog.Close())
}

// A syslog daemon that has stopped reading, as on a full disk, must not hold up the loop.
func TestWhoLogsWaitsForNobody(t *testing.T) {
	stuck, closed := make(chan struct{}), make(chan struct{})
	var got []string
	l := NewLog()
	l.target = queued(target{
		write: func(_ time.Time, _ slog.Level, line string) error {
			<-stuck
			got = append(got, line)
			return nil
		},
		close: func() error { close(closed); return nil },
	})
	const lost = 3
	for range 1 + queueSize + lost { // one is being written
		l.Info("banned")
	}
	close(stuck)
	l.Close()
	<-closed
	banned, told := 0, 0
	for _, line := range got {
		switch {
		case line == "banned":
			banned++
		case strings.HasPrefix(line, "lines of this log were lost: nobody took them count="):
			n, err := strconv.Atoi(line[strings.LastIndexByte(line, '=')+1:])
			must(t, err)
			told += n
		default:
			t.Errorf("wrote %q", line)
		}
	}
	if banned < queueSize || banned+told != 1+queueSize+lost {
		t.Errorf("%d lines written and %d told as lost, of %d", banned, told, 1+queueSize+lost)
	}
}

// A pipe as a log takes lines before it has a reader and when it has one again; meanwhile nobody waits.
func TestLogIsAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	must(t, unix.Mkfifo(path, 0o600))
	l := logTo(t, path)
	long := strings.Repeat("x", 1<<10)
	for range 2 * queueSize { // more than pipe and queue hold
		l.Info("banned", "reason", long)
	}
	file, err := os.OpenFile(path, os.O_RDONLY, 0)
	must(t, err)
	defer file.Close()
	for reader := bufio.NewReader(file); ; {
		must(t, file.SetReadDeadline(time.Now().Add(patience)))
		line, err := reader.ReadString('\n')
		must(t, err)
		if strings.Contains(line, "lines of this log were lost") {
			break
		}
	}
	l.Close()
}

// Who follows the log no more leaves no goroutine behind.
func TestLogIsAPipeThatNobodyReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	must(t, unix.Mkfifo(path, 0o600))
	l := logTo(t, path)
	for range 2 * queueSize {
		l.Info("banned", "reason", strings.Repeat("x", 1<<10))
	}
	ended := l.target.ended
	must(t, l.Open(filepath.Join(t.TempDir(), "log"), slog.LevelInfo))
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("the writer waits for a reader for ever")
	}
}

// What a full disk did not take is told of when there is room, and half a line does not become
// the beginning of the next one.
func TestLinesThatAFullDiskLostAreTold(t *testing.T) {
	disk := &fullDisk{room: 100}
	at := time.Date(2026, 11, 9, 12, 0, 0, 0, time.UTC)
	l := stream(disk)
	for range 4 {
		l.write(at, slog.LevelInfo, "banned source=192.0.2.7") //nolint:errcheck // half of them
	}
	disk.room = 1 << 10
	must(t, l.write(at, slog.LevelInfo, "banned source=192.0.2.8"))
	var got []string
	for line := range strings.Lines(disk.text.String()) {
		_, text, _ := strings.Cut(line, "Z ")
		got = append(got, strings.TrimSpace(text))
	}
	want := []string{"INFO  banned source=192.0.2.7", "INFO  banned source=", "INFO  banned source=192.0.2.8", "WARN  lines of this log were lost: nobody took them count=3"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A fullDisk takes so many bytes.
type fullDisk struct {
	text strings.Builder
	room int
}

func (d *fullDisk) Write(p []byte) (int, error) {
	n := min(len(p), d.room)
	d.room -= n
	d.text.Write(p[:n])
	if n < len(p) {
		return n, unix.ENOSPC
	}
	return n, nil
}
