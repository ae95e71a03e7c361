package control_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xdpban/internal/control"
	"xdpban/internal/lock"
)

// The next daemon waits until this one has done, and keeps its socket then.
func TestTheLockOutlivesTheSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "xdpban.sock")
	server, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := server.Serve(ctx, &recorder{}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Listen(path); !errors.Is(err, lock.ErrHeld) {
		t.Errorf("while the first is still at work: %v", err)
	}
	server.Close()
	next, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	server.Close()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the socket of the next: %v", err)
	}
}

// Clients that say nothing are more than may be inside, and the daemon answers once they
// have gone.
func TestManySilentClientsLeaveRoomWhenTheyGo(t *testing.T) {
	path := socketOf(t, &recorder{})
	silent := make([]net.Conn, 500)
	for i := range silent {
		// The backlog may be full: those wait to be let in.
		client, err := net.DialTimeout("unix", path, time.Second)
		if err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		silent[i] = client
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	if len(fds) > len(silent)+200 {
		t.Errorf("%d descriptors are open for %d clients", len(fds), len(silent))
	}
	for _, c := range silent {
		c.Close()
	}
	if _, err := control.NewClient(path).Status(t.Context()); err != nil {
		t.Error(err)
	}
}

// A connection that waits for a next request may be closed when that is on its way, and nobody would know whether it
// was heard.
func TestClientsKeepNoConnection(t *testing.T) {
	path := filepath.Join(t.TempDir(), "xdpban.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	states := make(chan http.ConnState, 100)
	server := &http.Server{
		Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("{}")) }),
		ConnState: func(_ net.Conn, state http.ConnState) { states <- state },
	}
	go server.Serve(listener) //nolint:errcheck // it is closed below
	client := control.NewClient(path)
	for range 2 {
		if _, err := client.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, want := range []http.ConnState{http.StateNew, http.StateActive, http.StateClosed} {
			if got := <-states; got != want {
				t.Fatalf("the connection is %v, want %v", got, want)
			}
		}
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestBrokenRequestsAreRefused(t *testing.T) {
	path := socketOf(t, &recorder{})
	client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", path)
	}}}
	for _, body := range []string{"", "{", "[]", `"x"`, `{"prefixes": 7}`, `{"prefixes": ["x"]}`, `{"no": 1}`, `{} {}`, `{} x`, `{}]`, `{"addresses": ["192.0.2.1", "` + strings.Repeat("x", 1<<20) + `"]}`, `{"reason": "` + strings.Repeat("x", 5<<20) + `"}`} {
		reply, err := client.Post("http://x/v1/bans", "", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		reply.Body.Close()
		if reply.StatusCode != http.StatusBadRequest {
			t.Errorf("%.40q: status %d", body, reply.StatusCode)
		}
	}
}

// Who removes the socket, or its directory, shuts nobody out for long; a second daemon neither.
func TestARemovedSocketIsPutBack(t *testing.T) {
	path := socketOf(t, &recorder{})
	client := control.NewClient(path)
	for _, what := range []string{path, filepath.Dir(path)} {
		if _, err := client.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(what); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			_, err := control.NewClient(path).Status(t.Context())
			if err == nil {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("without %s: %v", what, err)
			}
		}
		if _, err := control.Listen(path); !errors.Is(err, lock.ErrHeld) {
			t.Errorf("a second daemon: %v", err)
		}
	}
}
