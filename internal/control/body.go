package control

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// Bounds on how slowly a client may send.
const (
	stallAtMost = 5 * time.Second
	slowest     = 16 << 10 // bytes a second, once stallAtMost is over
)

// errStalled says why a body was not read to its end.
var errStalled = fmt.Errorf("nothing came for %v, or less than %d KiB a second", stallAtMost, slowest>>10)

// A body is what a client sends, for as long as more of it comes: who stops in the middle keeps
// others from their turn.
type body struct {
	io.ReadCloser
	connection *http.ResponseController
	began      time.Time // when it was first read from
	n          int64     // bytes that have come
	err        error
}

// bodyOf is the body of r, with most bytes.
func bodyOf(w http.ResponseWriter, r *http.Request, most int64) io.ReadCloser {
	return http.MaxBytesReader(w, &body{ReadCloser: r.Body, connection: http.NewResponseController(w)}, most)
}

// Read waits for more. From the end on net/http watches the connection without a deadline.
func (b *body) Read(p []byte) (n int, err error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.began.IsZero() {
		b.began = time.Now()
	}
	due := min(min(time.Since(b.began), time.Duration(b.n)*time.Second/slowest)+stallAtMost, patience)
	b.connection.SetReadDeadline(b.began.Add(due)) //nolint:errcheck // a connection that is closed says so when it is read
	n, err = b.ReadCloser.Read(p)
	b.n += int64(n)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errStalled
	}
	b.err = err
	return n, err
}
