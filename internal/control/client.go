package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"golang.org/x/sys/unix"
)

// ErrNotRunning says that no daemon listens on the socket.
var ErrNotRunning = errors.New("the daemon is not running")

// A Client asks the daemon behind a socket.
type Client struct {
	socket string
	http   http.Client
}

// NewClient makes a client of the daemon whose socket is at path.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	// A connection that is kept may be closed by the daemon just when the next request is on its way.
	return &Client{path, http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Status asks for the daemon's state.
func (c *Client) Status(ctx context.Context) (reply Status, err error) {
	return reply, c.ask(ctx, http.MethodGet, "/v1/status", nil, &reply)
}

// Bans asks for the bans in force.
func (c *Client) Bans(ctx context.Context) ([]Ban, error) {
	bans := []Ban{}
	return bans, c.EachBan(ctx, func(b Ban) error {
		bans = append(bans, b)
		return nil
	})
}

// EachBan calls yield with each ban in force while they come, until it returns an error.
// A few come in the order of their ends, the last first; many in none.
func (c *Client) EachBan(ctx context.Context, yield func(Ban) error) error {
	return c.do(ctx, http.MethodGet, "/v1/bans", nil, func(body io.Reader) error {
		list := json.NewDecoder(body)
		if _, err := list.Token(); err != nil {
			return unread(err)
		}
		for list.More() {
			var b Ban
			if err := list.Decode(&b); err != nil {
				return unread(err)
			}
			if err := yield(b); err != nil {
				return err
			}
		}
		_, err := list.Token()
		return unread(err)
	})
}

// Ban bans by hand.
func (c *Client) Ban(ctx context.Context, request BanRequest) (reply BanReply, err error) {
	if request.List != nil {
		return reply, c.send(ctx, http.MethodPost, request.listPath(), listBody(request.List, request.Prefixes, request.Addresses), &reply)
	}
	return reply, c.ask(ctx, http.MethodPost, "/v1/bans", request, &reply)
}

// Unban ends bans.
func (c *Client) Unban(ctx context.Context, request UnbanRequest) (reply UnbanReply, err error) {
	if request.List != nil {
		return reply, c.send(ctx, http.MethodDelete, request.listPath(), listBody(request.List, request.Prefixes, request.Addresses), &reply)
	}
	return reply, c.ask(ctx, http.MethodDelete, "/v1/bans", request, &reply)
}

// Reload makes the daemon read its configuration again.
func (c *Client) Reload(ctx context.Context) (reply ReloadReply, err error) {
	return reply, c.ask(ctx, http.MethodPost, "/v1/reload", nil, &reply)
}

// Verify asks what becomes of packets, or for differences between what is wanted and what
// is in force.
func (c *Client) Verify(ctx context.Context, request VerifyRequest) (reply VerifyReply, err error) {
	return reply, c.ask(ctx, http.MethodPost, "/v1/verify", request, &reply)
}

// ask sends request and reads reply.
func (c *Client) ask(ctx context.Context, method, path string, request, reply any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("write the request: %w", err)
	}
	return c.send(ctx, method, path, bytes.NewReader(body), reply)
}

// send sends body and reads reply.
func (c *Client) send(ctx context.Context, method, path string, body io.Reader, reply any) error {
	return c.do(ctx, method, path, body, func(answer io.Reader) error { return decode(answer, reply) })
}

// do sends body and has read read the answer. Errors: *Error as the daemon gave it,
// ErrNotRunning, os.ErrPermission where the socket may not be used.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader, read func(io.Reader) error) error {
	r, err := http.NewRequestWithContext(ctx, method, "http://xdpban"+path, body)
	if err != nil {
		return fmt.Errorf("write the request: %w", err)
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return c.absent(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		return read(answer.Body)
	}
	known := new(Error)
	if err := decode(answer.Body, known); err != nil {
		return err
	}
	return known
}

func decode(body io.Reader, v any) error { return unread(json.NewDecoder(body).Decode(v)) }

// unread is err as what keeps an answer from being read.
func unread(err error) error {
	if err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	return nil
}

// absent says why nobody answered.
func (c *Client) absent(err error) error {
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("ask at %s: %w", c.socket, ErrNotRunning)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("ask at %s: %w", c.socket, os.ErrPermission)
	}
	return fmt.Errorf("ask at %s: %w", c.socket, err)
}
