package control

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A door lets so many clients in at a time; the others wait outside.
type door struct {
	net.Listener
	inside chan struct{}
	ctx    context.Context // ends the wait for better times
	log    *slog.Logger
}

// Accept waits for the next client and for room.
func (d *door) Accept() (net.Conn, error) {
	conn, err := d.accept()
	if err != nil {
		return nil, err
	}
	d.inside <- struct{}{} // clients leave at the latest when their time is up
	return &visitor{Conn: conn, leave: sync.OnceFunc(func() { <-d.inside })}, nil
}

// again is how long a door that cannot open waits.
const again = 100 * time.Millisecond

// accept waits for the next client, and for descriptors and memory where there are none. It says once that
// there are none.
func (d *door) accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	for told := false; scarce(err) && d.ctx.Err() == nil; conn, err = d.Listener.Accept() {
		if !told {
			d.log.Error("the socket takes no client; trying again", "error", err)
		}
		told = true
		select {
		case <-d.ctx.Done():
		case <-time.After(again):
		}
	}
	return conn, err
}

// scarce reports whether err may pass.
func scarce(err error) bool {
	for _, errno := range []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// A complaint is what net/http has to say, in the daemon's log.
type complaint struct{ log *slog.Logger }

func (c complaint) Write(text []byte) (int, error) {
	c.log.Warn("the socket's server complains", "error", string(bytes.TrimSpace(text)))
	return len(text), nil
}

// A visitor makes room when it leaves.
type visitor struct {
	net.Conn
	leave func()
}

// Close ends the connection.
func (v *visitor) Close() error {
	defer v.leave()
	return v.Conn.Close()
}
