package control

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// echo answers with what it was asked.
type echo struct{}

func (echo) Status(context.Context) (Status, error)      { return Status{}, nil }
func (echo) Bans(context.Context, func(Ban) error) error { return nil }
func (echo) Ban(_ context.Context, r BanRequest) (BanReply, error) {
	return BanReply{Banned: r.Prefixes}, nil
}
func (echo) Unban(_ context.Context, r UnbanRequest) (UnbanReply, error) {
	return UnbanReply{Unbanned: r.Prefixes}, nil
}
func (echo) Reload(context.Context) (ReloadReply, error) { return ReloadReply{}, nil }
func (echo) Verify(context.Context, VerifyRequest) (VerifyReply, error) {
	return VerifyReply{}, nil
}

// FuzzList asks with a list and any parameters.
func FuzzList(f *testing.F) {
	for _, query := range []string{"", "seconds=60&jail=j&reason=r&spare=::1&force=true&name=n", "seconds=1e9", "spare=", "a;b", "%", "name=\x00"} {
		f.Add("POST", query, "192.0.2.7\n")
		f.Add("DELETE", query, "x")
	}
	serve := handler(echo{})
	f.Fuzz(func(t *testing.T, method, query, body string) {
		if method != http.MethodPost && method != http.MethodDelete {
			return
		}
		request := httptest.NewRequest(method, "/v1/bans/list", strings.NewReader(body))
		request.URL.RawQuery = query
		w := httptest.NewRecorder()
		serve.ServeHTTP(w, request)
		if w.Code == http.StatusOK {
			return
		}
		var reply Error
		if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil || reply.Text == "" || reply.Kind != Usage {
			t.Fatalf("%s %q: status %d, answer %q", method, query, w.Code, w.Body)
		}
	})
}

func FuzzRequest(f *testing.F) {
	for _, body := range []string{
		`{"prefixes":["192.0.2.0/24"],"addresses":["2001:db8::1"],"seconds":60,"spare":["::1"]}`,
		`{"prefixes":["192.0.2.0/24"`, `{"list":"192.0.2.7\n"}`, `{"unknown":1}`, `{"seconds":1e99}`, `null`, `[]`, ``, `{"prefixes":["fe80::1%eth0/64"]}`,
	} {
		f.Add("POST", body)
		f.Add("DELETE", body)
	}
	serve := handler(echo{})
	f.Fuzz(func(t *testing.T, method, body string) {
		if method != http.MethodPost && method != http.MethodDelete {
			return
		}
		w := httptest.NewRecorder()
		serve.ServeHTTP(w, httptest.NewRequest(method, "/v1/bans", strings.NewReader(body)))
		if w.Code == http.StatusOK {
			return
		}
		var reply Error
		if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil || reply.Text == "" || reply.Kind != Usage {
			t.Fatalf("%s %q: status %d, answer %q", method, body, w.Code, w.Body)
		}
	})
}
