package control

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// readers read lists to their end.
type readers struct{ echo }

func (readers) Ban(_ context.Context, r BanRequest) (BanReply, error) {
	if r.List == nil {
		return BanReply{}, nil
	}
	n, err := io.Copy(io.Discard, r.List)
	return BanReply{Count: int(n)}, err
}

// Clients that stop in the middle of a list, or drip, keep others waiting for seconds at most, and hear
// why they are refused; who sends slowly, or has a daemon that takes its time, does not.
func TestWhoStallsLosesHisTurn(t *testing.T) {
	const header, chunk = "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", 64 << 10
	lines := strings.Repeat("192.0.2.7\n", chunk/10)
	for _, test := range []struct {
		name   string
		path   string
		length int
		parts  []string
		every  time.Duration
		status int
		lasts  time.Duration
	}{
		{"nothing of a list", "/v1/bans/list", 100, nil, 0, http.StatusInternalServerError, stallAtMost},
		{"half a list", "/v1/bans/list", 2 * len(lines), []string{lines}, 0, http.StatusInternalServerError, stallAtMost},
		{"a byte every two seconds", "/v1/bans/list", 100, strings.Split("192.0.2.7\n192.0.2.8\n", ""), 2 * time.Second, http.StatusInternalServerError, stallAtMost},
		{"a list in seven seconds", "/v1/bans/list", 4 * len(lines), []string{lines, lines, lines, lines}, 2 * time.Second, http.StatusOK, 6 * time.Second},
		{"half a request", "/v1/bans", 100, []string{`{"prefixes": [`}, 0, http.StatusBadRequest, stallAtMost},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				client := connect(t, handler(readers{}))
				var writing sync.WaitGroup
				defer writing.Wait()
				writing.Go(func() {
					fmt.Fprintf(client, header, test.path, test.length)
					for i, part := range test.parts {
						if i > 0 {
							time.Sleep(test.every)
						}
						if _, err := io.WriteString(client, part); err != nil {
							return // the server has hung up
						}
					}
				})
				reply, err := http.ReadResponse(bufio.NewReader(client), nil)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(reply.Body)
				if err != nil {
					t.Fatal(err)
				}
				stalled := test.status != http.StatusOK
				if took := time.Since(began).Round(time.Second); reply.StatusCode != test.status || took != test.lasts || strings.Contains(string(text), errStalled.Error()) != stalled {
					t.Errorf("status %d after %v: %s", reply.StatusCode, took, text)
				}
			})
		})
	}
}

// Two lists that stall take both seats. A third is done when they have lost them.
func TestAListWaitsForStalledOnesForSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, service := time.Now(), handler(readers{})
		for range listsAtOnce {
			fmt.Fprint(connect(t, service), "POST /v1/bans/list HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n192.0.2.7\n")
		}
		synctest.Wait()
		client := connect(t, service)
		fmt.Fprint(client, "POST /v1/bans/list HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n192.0.2.8\n")
		reply, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began).Round(time.Second); reply.StatusCode != http.StatusOK || took != stallAtMost {
			t.Errorf("status %d after %v", reply.StatusCode, took)
		}
	})
}

// A list that takes the daemon long is not given up as one that stalls.
func TestADaemonMayTakeLongerThanItsClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := connect(t, handler(pensive{}))
		fmt.Fprint(client, "POST /v1/bans/list HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n192.0.2.8\n")
		reply, err := http.ReadResponse(bufio.NewReader(client), nil)
		if err != nil {
			t.Fatal(err)
		}
		if reply.StatusCode != http.StatusOK {
			text, _ := io.ReadAll(reply.Body)
			t.Errorf("status %d: %s", reply.StatusCode, text)
		}
	})
}

// pensive thinks about a list for an hour, unless its client goes.
type pensive struct{ echo }

func (pensive) Ban(ctx context.Context, r BanRequest) (BanReply, error) {
	if _, err := io.Copy(io.Discard, r.List); err != nil {
		return BanReply{}, err
	}
	select {
	case <-time.After(time.Hour):
		return BanReply{}, nil
	case <-ctx.Done():
		return BanReply{}, errors.New("the client has gone")
	}
}

// Clients that say nothing take every place for seconds at most, before their first request and behind it.
func TestSilentClientsLoseTheirPlaces(t *testing.T) {
	for _, said := range []string{"", "GET /v1/status HTTP/1.1\r\n", "GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			began, street := time.Now(), &single{connections: make(chan net.Conn, 2*maxClients)}
			server := newHTTP(t.Context(), handler(echo{}), slog.New(slog.DiscardHandler))
			go server.Serve(&door{street, make(chan struct{}, maxClients), t.Context(), nil}) //nolint:errcheck // it ends with the test
			come := func() net.Conn {
				client, inside := net.Pipe()
				street.connections <- inside
				return client
			}
			for range maxClients {
				client := come()
				defer client.Close()
				fmt.Fprint(client, said)
				go io.Copy(io.Discard, client) //nolint:errcheck // it ends with the connection
			}
			synctest.Wait()
			client := come()
			fmt.Fprint(client, "GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			if _, err := io.ReadAll(client); err != nil {
				t.Error(err)
			}
			if took := time.Since(began).Round(time.Second); took != 3*time.Second {
				t.Errorf("after %q a place is free in %v", said, took)
			}
			close(street.connections)
			server.Close()
		})
	}
}

// Where there are no descriptors the socket waits for them, and says so once.
func TestTheDoorWaitsForDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scarcity := fmt.Errorf("accept: %w", os.NewSyscallError("accept4", unix.EMFILE))
		street, log := &fickle{errs: []error{scarcity, scarcity, scarcity}}, new(strings.Builder)
		d := &door{street, make(chan struct{}, 1), t.Context(), slog.New(slog.NewTextHandler(log, nil))}
		if _, err := d.Accept(); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(log.String(), "the socket takes no client; trying again\" error=\"accept: accept4: too many open files"); n != 1 {
			t.Errorf("told %d times: %s", n, log)
		}
		street.errs = []error{net.ErrClosed}
		if _, err := d.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

// A fickle listener has errors before it has a connection.
type fickle struct {
	single
	errs []error
}

func (f *fickle) Accept() (net.Conn, error) {
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, err
	}
	conn, _ := net.Pipe()
	return conn, nil
}

// connect is a client of a server of its own.
func connect(t *testing.T, handler http.Handler) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	one := &single{connections: make(chan net.Conn, 1)}
	one.connections <- server
	s := &http.Server{Handler: handler}
	go s.Serve(one) //nolint:errcheck // it ends with the test
	t.Cleanup(func() {
		close(one.connections)
		s.Close()
		client.Close()
	})
	return client
}

// A single listener has one connection.
type single struct{ connections chan net.Conn }

func (s *single) Accept() (net.Conn, error) {
	if c, ok := <-s.connections; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (s *single) Close() error   { return nil }
func (s *single) Addr() net.Addr { return &net.UnixAddr{} }
