package control_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"xdpban/internal/control"
)

// A listener is a recorder that reads lists to their end.
type listener struct {
	recorder
	text string
	err  error
}

func (l *listener) Ban(ctx context.Context, request control.BanRequest) (control.BanReply, error) {
	l.hear(request.List)
	request.List = nil
	return l.recorder.Ban(ctx, request)
}

func (l *listener) Unban(ctx context.Context, request control.UnbanRequest) (control.UnbanReply, error) {
	l.hear(request.List)
	request.List = nil
	return l.recorder.Unban(ctx, request)
}

func (l *listener) hear(list io.Reader) {
	var text []byte
	text, l.err = io.ReadAll(list)
	l.text = string(text)
}

// A list comes as it was written; what is named beside it is behind it.
func TestListsCrossTheSocket(t *testing.T) {
	var service listener
	client, ctx := serve(t, &service), t.Context()
	const text = "192.0.2.7 # \"at night\"\r\n\x00\xff"
	prefixes, addresses := []netip.Prefix{netip.MustParsePrefix("2001:db8::/64")}, []netip.Addr{netip.MustParseAddr("192.0.2.8")}

	ban := control.BanRequest{Seconds: 60, Jail: "j", Reason: "r&=?", Spare: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::1")}, Force: true, Name: "drop.txt"}
	asked := ban
	asked.List, asked.Prefixes, asked.Addresses = strings.NewReader(text), prefixes, addresses
	reply, err := client.Ban(ctx, asked)
	same(t, err, reply, control.BanReply{Until: noon})
	same(t, service.err, service.ban, ban)
	same(t, nil, service.text, text+"\n2001:db8::/64\n192.0.2.8\n")

	_, err = client.Ban(ctx, control.BanRequest{List: strings.NewReader("")})
	same(t, err, service.ban, control.BanRequest{})
	same(t, service.err, service.text, "")

	_, err = client.Unban(ctx, control.UnbanRequest{List: strings.NewReader(text), Name: "drop.txt"})
	same(t, err, service.unban, control.UnbanRequest{Name: "drop.txt"})
	same(t, service.err, service.text, text)
}

// By hand parameters may be left out, and those that are wrong are named.
func TestParametersOfAList(t *testing.T) {
	var service listener
	url := httpTo(t, &service)
	for _, test := range []struct{ method, query, want string }{
		{"POST", "", ""},
		{"POST", "?seconds=60&force=1&spare=192.0.2.1", ""},
		{"DELETE", "?name=x", ""},
		{"POST", "?second=60", "read the request: second: there is no such parameter"},
		{"POST", "?seconds=1h", `read the request: seconds: strconv.ParseInt: parsing "1h": invalid syntax`},
		{"POST", "?force=maybe", `read the request: force: strconv.ParseBool: parsing "maybe": invalid syntax`},
		{"POST", "?spare=me", `read the request: spare: ParseAddr("me"): unable to parse IP`},
		{"POST", "?name=%zz", `read the request: invalid URL escape "%zz"`},
		{"DELETE", "?force=true", "read the request: force: there is no such parameter"},
	} {
		status, text := url(test.method, "/v1/bans/list"+test.query, strings.NewReader("192.0.2.7\n"))
		if test.want == "" {
			if status != http.StatusOK || service.text != "192.0.2.7\n" {
				t.Errorf("%s %s: status %d, %s", test.method, test.query, status, text)
			}
			continue
		}
		if status != http.StatusBadRequest || !strings.Contains(strings.ReplaceAll(text, `\"`, `"`), `"error":"`+test.want+`"`) {
			t.Errorf("%s %s: status %d, %s; want %s", test.method, test.query, status, text, test.want)
		}
	}
}

// httpTo serves and asks as curl would.
func httpTo(t *testing.T, service control.Service) func(method, path string, body io.Reader) (status int, text string) {
	t.Helper()
	path := socketOf(t, service)
	client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", path)
	}}}
	return func(method, path string, body io.Reader) (int, string) {
		t.Helper()
		request, err := http.NewRequest(method, "http://x"+path, body)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer reply.Body.Close()
		text, err := io.ReadAll(reply.Body)
		if err != nil {
			t.Fatal(err)
		}
		return reply.StatusCode, string(text)
	}
}

// Who is refused hears of it, however much he has still to say.
func TestRefusalsOfLongListsAreHeard(t *testing.T) {
	refusal := control.Error{Kind: control.Usage, Text: "no"}
	client := serve(t, &recorder{fail: &refusal}) // which reads nothing of it
	for range 10 {
		_, err := client.Ban(t.Context(), control.BanRequest{List: io.LimitReader(zeros{}, 16<<20)})
		var got *control.Error
		if !errors.As(err, &got) || *got != refusal {
			t.Fatalf("got %v", err)
		}
	}
}

// zeros has no end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A list that breaks off while it is sent is not taken for one that ends there.
func TestAListThatCannotBeReadIsNone(t *testing.T) {
	service := &broken{err: make(chan error, 1)}
	client, lost := serve(t, service), errors.New("input/output error")
	list := io.MultiReader(strings.NewReader("192.0.2.7\n"), iotest.ErrReader(lost))
	if _, err := client.Ban(t.Context(), control.BanRequest{List: list}); !errors.Is(err, lost) {
		t.Errorf("got %v, want %v", err, lost)
	}
	if err := <-service.err; err == nil {
		t.Error("the daemon has read it to its end")
	}
}

// A broken tells how it came to the end of a list.
type broken struct {
	recorder
	err chan error
}

func (b *broken) Ban(_ context.Context, request control.BanRequest) (control.BanReply, error) {
	_, err := io.Copy(io.Discard, request.List)
	b.err <- err
	return control.BanReply{}, err
}

func TestAListWithoutEndIsCutOff(t *testing.T) {
	service := &reader{}
	status, _ := httpTo(t, service)("POST", "/v1/bans/list", io.LimitReader(zeros{}, control.ListBytes+1))
	if service.n != control.ListBytes || service.err == nil || status != http.StatusInternalServerError {
		t.Errorf("read %d, %v, status %d", service.n, service.err, status)
	}
}

// A reader keeps nothing of a list.
type reader struct {
	recorder
	n   int64
	err error
}

func (r *reader) Ban(_ context.Context, request control.BanRequest) (control.BanReply, error) {
	r.n, r.err = io.Copy(io.Discard, request.List)
	return control.BanReply{}, r.err
}

// Two lists are read at one time, and others wait; who brings none does not.
func TestListsWaitForEachOther(t *testing.T) {
	service := &slow{inside: make(chan struct{}), leave: make(chan struct{})}
	client := serve(t, service)
	const lists = 7
	done := make(chan error, lists)
	for range lists {
		go func() {
			_, err := client.Ban(context.Background(), control.BanRequest{List: strings.NewReader("192.0.2.7")})
			done <- err
		}()
	}
	<-service.inside
	<-service.inside
	if _, err := client.Ban(t.Context(), control.BanRequest{}); err != nil {
		t.Error(err)
	}
	for range lists - 2 {
		service.leave <- struct{}{}
		<-service.inside
	}
	service.leave <- struct{}{}
	service.leave <- struct{}{}
	for range lists {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if most := service.most.Load(); most != 2 {
		t.Errorf("%d lists were read at one time", most)
	}
}

// slow keeps lists until they may leave.
type slow struct {
	recorder
	inside, leave chan struct{}
	now, most     atomic.Int32
}

func (s *slow) Ban(_ context.Context, request control.BanRequest) (control.BanReply, error) {
	if request.List == nil {
		return control.BanReply{}, nil
	}
	if n := s.now.Add(1); n > s.most.Load() {
		s.most.Store(n)
	}
	s.inside <- struct{}{}
	<-s.leave
	s.now.Add(-1)
	return control.BanReply{}, nil
}
