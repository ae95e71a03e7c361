package demo

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

func (s *Story) title(text string) { fmt.Fprintf(s.Out, "\n%s\n", text) }

// say tells what happened, with the time since the story began.
func (s *Story) say(format string, args ...any) {
	fmt.Fprintf(s.Out, "%6.1fs  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// quote shows a line of somebody else's text.
func (s *Story) quote(line string) {
	fmt.Fprintf(s.Out, "         | %s\n", strings.TrimRight(line, "\n"))
}

func clock(t time.Time) string { return t.Local().Format("15:04:05") }

// await waits for done, which is asked often, for as long as patience lasts.
func await(ctx context.Context, what string, done func() bool) error {
	for end := time.Now().Add(patience); !done(); {
		if time.Now().After(end) {
			return fmt.Errorf("waited %s for %s", patience, what)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// knock connects by TCP.
func knock(at netip.AddrPort) error {
	conn, err := net.DialTimeout("tcp", at.String(), 500*time.Millisecond)
	if err != nil {
		return err
	}
	return conn.Close()
}
