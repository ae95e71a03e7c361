package daemon

import (
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// queueSize is how many lines may wait for whoever takes them.
const queueSize = 1024

// flushAtMost is how long the daemon waits, at its end, for lines that are waiting.
const flushAtMost = time.Second

// A logLine is one line on its way.
type logLine struct {
	at    time.Time
	level slog.Level
	text  string
}

// queued is t behind a queue, so that who writes never waits: a syslog daemon that has stopped reading, or
// the reader of a pipe, would hold up the loop, and with it bans. Lines for which there is no room are
// dropped and counted; the number is told when lines are taken again. close ends the goroutine behind the
// last line, ended is closed then.
func queued(t target) target {
	lines, ended := make(chan logLine, queueSize), make(chan struct{})
	var dropped atomic.Uint64
	go func() {
		defer close(ended)
		for line := range lines {
			t.write(line.at, line.level, line.text) //nolint:errcheck // nobody is left to tell
			if n := dropped.Swap(0); n > 0 && t.write(time.Now(), slog.LevelWarn, linesLost(n)) != nil {
				dropped.Add(n)
			}
		}
		t.close() //nolint:errcheck // what was written has been written
	}()
	return target{
		write: func(at time.Time, level slog.Level, text string) error {
			select {
			case lines <- logLine{at, level, text}:
			default:
				dropped.Add(1)
			}
			return nil
		},
		close: func() error {
			close(lines)
			return nil
		},
		ended: ended,
	}
}

// Close ends the log when what waits has been written, or cannot be. Later lines go to stderr.
func (l *Log) Close() {
	l.mu.Lock()
	before := l.target
	l.target = stream(os.Stderr)
	l.mu.Unlock()
	if before.close != nil {
		before.close() //nolint:errcheck // what was written has been written
	}
	if before.ended == nil {
		return
	}
	select {
	case <-before.ended:
	case <-time.After(flushAtMost):
	}
}
