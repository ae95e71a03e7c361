package control_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"xdpban/internal/control"
	"xdpban/internal/lock"
)

// A recorder answers like a daemon and keeps what it was asked.
type recorder struct {
	ban   control.BanRequest
	unban control.UnbanRequest
	bans  int // that it tells of
	fail  error
}

var noon = time.Date(2026, 11, 9, 12, 0, 0, 0, time.UTC)

func (r *recorder) Status(context.Context) (control.Status, error) {
	return control.Status{Version: "1", PID: 7, Since: noon}, r.fail
}

func (r *recorder) Bans(_ context.Context, yield func(control.Ban) error) error {
	for i := range r.bans {
		if err := yield(control.Ban{Prefix: nth(i), Jail: "sshd", Since: noon, End: noon}); err != nil {
			return err
		}
	}
	return r.fail
}

// nth is the prefix of the ban i that a recorder tells of.
func nth(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 32)
}

func (r *recorder) Ban(_ context.Context, request control.BanRequest) (control.BanReply, error) {
	r.ban = request
	return control.BanReply{Banned: request.Prefixes, Until: noon}, r.fail
}

func (r *recorder) Unban(_ context.Context, request control.UnbanRequest) (control.UnbanReply, error) {
	r.unban = request
	return control.UnbanReply{Unbanned: request.Prefixes}, r.fail
}

func (r *recorder) Reload(context.Context) (control.ReloadReply, error) {
	return control.ReloadReply{Config: "/etc/xdpban/xdpban.yaml", Jails: []string{"sshd"}}, r.fail
}

func (r *recorder) Verify(_ context.Context, request control.VerifyRequest) (control.VerifyReply, error) {
	v := control.Verdict{Interface: "eth0", Mode: "native", Verdict: control.Drop, Note: request.Address.String()}
	return control.VerifyReply{Verdicts: []control.Verdict{v}}, r.fail
}

// serve answers with service until the test ends.
func serve(t *testing.T, service control.Service) *control.Client {
	t.Helper()
	return control.NewClient(socketOf(t, service))
}

// socketOf is where service answers until the test ends.
func socketOf(t *testing.T, service control.Service) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "xdpban.sock")
	server, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- server.Serve(ctx, service, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left behind: %v", err)
		}
	})
	return path
}

func TestRequestsAndRepliesCrossTheSocket(t *testing.T) {
	var service recorder
	client, ctx := serve(t, &service), context.Background()
	prefixes := []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/64")}

	status, err := client.Status(ctx)
	same(t, err, status, control.Status{Version: "1", PID: 7, Since: noon})

	for n := range 3 {
		want := []control.Ban{}
		for i := range n {
			want = append(want, control.Ban{Prefix: nth(i), Jail: "sshd", Since: noon, End: noon})
		}
		bans, err := serve(t, &recorder{bans: n}).Bans(ctx)
		same(t, err, bans, want)
	}

	ban := control.BanRequest{Prefixes: prefixes, Seconds: 60, Jail: "j", Reason: "r", Spare: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Force: true}
	banned, err := client.Ban(ctx, ban)
	same(t, err, banned, control.BanReply{Banned: prefixes, Until: noon})
	same(t, nil, service.ban, ban)

	unban := control.UnbanRequest{Prefixes: prefixes, All: true}
	unbanned, err := client.Unban(ctx, unban)
	same(t, err, unbanned, control.UnbanReply{Unbanned: prefixes})
	same(t, nil, service.unban, unban)

	verified, err := client.Verify(ctx, control.VerifyRequest{Address: netip.MustParseAddr("192.0.2.7")})
	same(t, err, verified, control.VerifyReply{Verdicts: []control.Verdict{{Interface: "eth0", Mode: "native", Verdict: control.Drop, Note: "192.0.2.7"}}})
	reloaded, err := client.Reload(ctx)
	same(t, err, reloaded, control.ReloadReply{Config: "/etc/xdpban/xdpban.yaml", Jails: []string{"sshd"}})
}

func TestErrorsKeepTheirKindAndHint(t *testing.T) {
	for _, test := range []struct {
		fail error
		want control.Error
	}{
		{errors.New("no room"), control.Error{Kind: control.Failed, Text: "no room"}},
		{&control.Error{Kind: control.Usage, Text: "own address", Hint: "--force"}, control.Error{Kind: control.Usage, Text: "own address", Hint: "--force"}},
	} {
		client := serve(t, &recorder{fail: test.fail})
		_, err := client.Status(context.Background())
		var got *control.Error
		if !errors.As(err, &got) || *got != test.want {
			t.Errorf("got %#v, want %#v", err, test.want)
		}
	}
}

// A list that breaks off is not taken for the whole.
func TestAListThatBreaksOffIsAnError(t *testing.T) {
	refusal := errors.New("the kernel said no")
	_, err := serve(t, &recorder{fail: refusal}).Bans(context.Background())
	var known *control.Error
	if !errors.As(err, &known) || known.Text != refusal.Error() {
		t.Errorf("before the first: got %v", err)
	}
	for _, n := range []int{1, 5000} {
		if bans, err := serve(t, &recorder{bans: n, fail: refusal}).Bans(context.Background()); err == nil {
			t.Errorf("after %d: got %d and no error", n, len(bans))
		}
	}
}

// Who has heard enough ends the list.
func TestAListenerMayLeave(t *testing.T) {
	enough := errors.New("enough")
	client := serve(t, &recorder{bans: 100_000})
	n := 0
	err := client.EachBan(context.Background(), func(control.Ban) error {
		if n++; n == 3 {
			return enough
		}
		return nil
	})
	if n != 3 || !errors.Is(err, enough) {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestNobodyListens(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "xdpban.sock")
	if _, err := control.NewClient(absent).Status(context.Background()); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("no socket: %v", err)
	}
}

func TestASecondDaemonIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "xdpban.sock")
	first, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := control.Listen(path); !errors.Is(err, lock.ErrHeld) {
		t.Errorf("second: %v", err)
	}
	first.Close()
	again, err := control.Listen(path)
	if err != nil {
		t.Fatalf("after the first has gone: %v", err)
	}
	again.Close()
}

func TestAFileIsNotTakenForAnOldSocket(t *testing.T) {
	for _, name := range []string{"xdpban.yaml", "xdpban.yaml.new"} {
		dir := t.TempDir()
		path, file := filepath.Join(dir, "xdpban.yaml"), filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte("jails: {}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := control.Listen(path); err == nil || err.Error() != "listen on "+file+": something else than a socket is there" {
			t.Errorf("Listen beside a file %s: %v", name, err)
		}
		if text, err := os.ReadFile(file); string(text) != "jails: {}\n" {
			t.Errorf("%s holds %q, %v", name, text, err)
		}
	}
}

func TestOthersMayNotUseTheSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "xdpban.sock")
	server, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		t.Errorf("mode %v", info.Mode())
	}
}

func same(t *testing.T, err error, got, want any) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
