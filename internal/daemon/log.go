package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The targets of a log that are no file.
const (
	toSyslog = "SYSLOG"
	toStderr = "STDERR"
	toStdout = "STDOUT"
)

// A Log is the daemon's own log, whose target and level may change while it runs. A line is
// what happened, then key=value; a value with anything but plain text in it is quoted, so
// that nothing from a followed log reaches a terminal or a line of ours as it is.
type Log struct {
	*slog.Logger
	level slog.LevelVar

	mu     sync.Mutex
	where  string // as Open was told
	target target
}

// A target is where lines go.
type target struct {
	write func(at time.Time, level slog.Level, line string) error
	close func() error
	ended <-chan struct{} // closed behind the last line after close; nil: lines do not wait
}

// NewLog makes a log that writes to stderr until it is opened.
func NewLog() *Log {
	l := &Log{target: stream(os.Stderr)}
	l.Logger = slog.New(handler{log: l})
	return l
}

// Open sends the log to where says: SYSLOG, STDERR, STDOUT or the path of a file. A file
// is opened anew, as it may have been rotated away. On an error the log stays as it was.
func (l *Log) Open(where string, level slog.Level) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if where == l.where && (where == toStderr || where == toStdout) {
		l.level.Set(level)
		return nil
	}
	next, err := openTarget(where)
	if err != nil {
		return fmt.Errorf("open the log %s: %w", where, err)
	}
	if l.target.close != nil {
		l.target.close() //nolint:errcheck // what was written has been written
	}
	l.where, l.target = where, next
	l.level.Set(level)
	return nil
}

func openTarget(where string) (target, error) {
	switch where {
	case toStderr:
		return standard(os.Stderr), nil
	case toStdout:
		return standard(os.Stdout), nil
	case toSyslog:
		w, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_INFO, "xdpban")
		if err != nil {
			return target{}, err
		}
		return queued(telling(target{
			write: func(_ time.Time, level slog.Level, line string) error { return severity(w, level)(line) },
			close: w.Close,
		})), nil
	}
	return openFile(where)
}

// standard is a target that is open already and stays so. Only files do not have their writers wait.
func standard(file *os.File) target {
	t := stream(file)
	if isFile(file) {
		return t
	}
	t.close = func() error { return nil }
	return queued(t)
}

// openFile opens a file, or a pipe or terminal, where lines wait for whoever reads. A pipe that is open in
// both directions is there without a reader, and stays when he goes.
func openFile(path string) (target, error) {
	flags := os.O_CREATE | os.O_APPEND | os.O_WRONLY
	if info, err := os.Stat(path); err == nil && info.Mode().Type() == os.ModeNamedPipe {
		flags = os.O_RDWR
	}
	file, err := os.OpenFile(path, flags|unix.O_NONBLOCK|unix.O_NOCTTY, 0o640)
	if err != nil {
		return target{}, err
	}
	t := stream(file)
	t.close = file.Close
	if isFile(file) {
		return t, nil
	}
	t = queued(t)
	flush := t.close
	t.close = func() error {
		file.SetWriteDeadline(time.Now().Add(flushAtMost)) //nolint:errcheck // what has no deadline does not have its writers wait
		return flush()
	}
	return t, nil
}

func isFile(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Mode().IsRegular()
}

// stream is a target that writes lines with their times. It begins a line anew where only a part of the
// last one was taken.
func stream(w io.Writer) target {
	torn := ""
	return telling(target{write: func(at time.Time, level slog.Level, line string) error {
		text := fmt.Sprintf("%s%s %-5s %s\n", torn, at.Format("2006-01-02T15:04:05.000Z07:00"), level, line)
		n, err := io.WriteString(w, text)
		switch n {
		case 0:
		case len(torn), len(text):
			torn = ""
		default:
			torn = "\n"
		}
		return err
	}})
}

// telling counts the lines that t does not take, as on a full disk, and tells their number when it takes one again.
func telling(t target) target {
	lost, write := uint64(0), t.write
	t.write = func(at time.Time, level slog.Level, line string) error {
		if err := write(at, level, line); err != nil {
			lost++
			return err
		}
		if lost > 0 && write(time.Now(), slog.LevelWarn, linesLost(lost)) == nil {
			lost = 0
		}
		return nil
	}
	return t
}

func linesLost(n uint64) string {
	return fmt.Sprintf("lines of this log were lost: nobody took them count=%d", n)
}

func severity(w *syslog.Writer, level slog.Level) func(string) error {
	switch {
	case level >= slog.LevelError:
		return w.Err
	case level >= slog.LevelWarn:
		return w.Warning
	case level >= slog.LevelInfo:
		return w.Info
	}
	return w.Debug
}

// handler makes lines of records. Groups are flattened: nothing here uses them.
type handler struct {
	log   *Log
	attrs []slog.Attr
}

func (h handler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.log.level.Level()
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.log, append(h.attrs[:len(h.attrs):len(h.attrs)], attrs...)}
}

func (h handler) WithGroup(string) slog.Handler { return h }

func (h handler) Handle(_ context.Context, r slog.Record) error {
	line := new(strings.Builder)
	line.WriteString(r.Message)
	put := func(a slog.Attr) bool {
		if text := a.Value.Resolve().String(); text != "" {
			fmt.Fprintf(line, " %s=%s", a.Key, plain(text))
		}
		return true
	}
	for _, a := range h.attrs {
		put(a)
	}
	r.Attrs(put)
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	return h.log.target.write(r.Time, r.Level, line.String())
}

// plain quotes text unless every byte of it prints and is no space.
func plain(text string) string {
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c == '"' || c == '\\' || c >= 0x7f {
			return strconv.QuoteToASCII(text)
		}
	}
	return text
}
