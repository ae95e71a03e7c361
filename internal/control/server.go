package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"xdpban/internal/lock"
)

// Group may use the socket beside root, where it exists.
const Group = "xdpban"

// requestBytes bounds a request's body, which is in memory twice while it is read.
const requestBytes = 4 << 20

// ListBytes bounds that of a list, which is not: millions of prefixes fit.
const ListBytes = 128 << 20

// listsAtOnce are read at one time: what they name is in memory until they are done.
const listsAtOnce = 2

// A Service answers the requests of the API. An *Error reaches the client as it is,
// any other error as Failed.
type Service interface {
	Status(context.Context) (Status, error)
	// Bans calls yield with each, until it returns an error.
	Bans(ctx context.Context, yield func(Ban) error) error
	Ban(context.Context, BanRequest) (BanReply, error)
	Unban(context.Context, UnbanRequest) (UnbanReply, error)
	Reload(context.Context) (ReloadReply, error)
	Verify(context.Context, VerifyRequest) (VerifyReply, error)
}

// A Server owns the socket.
type Server struct {
	path     string
	listener net.Listener
	lock     *os.File
	hanging  sync.Once
	asking   sync.RWMutex // whoever answers a request reads; written when no more are answered
}

// Listen takes the socket at path, which it makes readable and writable for root and
// Group. The error is lock.ErrHeld if a daemon has it already.
func Listen(path string) (*Server, error) {
	held, err := Lock(path + ".lock")
	if err != nil {
		return nil, err
	}
	// We hold the lock: a socket that is still there belongs to nobody.
	if err := removeSocket(path); err != nil {
		held.Close()
		return nil, err
	}
	listener, err := listenPrivately(path)
	if err != nil {
		held.Close()
		return nil, err
	}
	return &Server{path: path, listener: listener, lock: held}, nil
}

// Lock takes the lock file path until it is closed or the process ends, however it ends.
// The error is lock.ErrHeld if another process has it.
func Lock(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of the lock: %w", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	if err := lock.Take(file); err != nil {
		file.Close()
		return nil, fmt.Errorf("take %s: %w", path, err)
	}
	return file, nil
}

// removeSocket removes what an earlier daemon left at path. Anything but a socket is a file of
// somebody's, whose path was given by mistake.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	if err == nil && info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("listen on %s: something else than a socket is there", path)
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the old socket: %w", err)
	}
	return nil
}

// listenPrivately opens the socket so that at no moment others may connect to it.
func listenPrivately(path string) (net.Listener, error) {
	private := path + ".new"
	if err := removeSocket(private); err != nil {
		return nil, err
	}
	before := unix.Umask(0o177)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: private, Net: "unix"})
	unix.Umask(before)
	if err != nil {
		return nil, fmt.Errorf("listen on the socket: %w", err)
	}
	listener.SetUnlinkOnClose(false)
	if err := admit(private); err != nil {
		listener.Close()
		return nil, err
	}
	if err := os.Rename(private, path); err != nil {
		listener.Close()
		return nil, fmt.Errorf("put the socket in place: %w", err)
	}
	return listener, nil
}

// admit lets Group in, where there is one.
func admit(path string) error {
	group, err := user.LookupGroup(Group)
	if err != nil {
		return nil //nolint:nilerr // without the group the socket stays root's alone
	}
	gid, err := strconv.Atoi(group.Gid)
	if err != nil {
		return fmt.Errorf("read the number of group %s: %w", Group, err)
	}
	if err := os.Chown(path, -1, gid); err != nil {
		return fmt.Errorf("give the socket to group %s: %w", Group, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return fmt.Errorf("open the socket to group %s: %w", Group, err)
	}
	return nil
}

// Bounds on clients. A list of a million bans takes seconds, a client that stops in the
// middle would take the descriptors that the logs need, and one that says nothing the place of another.
const (
	maxClients  = 64
	patience    = 2 * time.Minute
	idleAtMost  = 3 * time.Second
	headAtMost  = 3 * time.Second
	headerBytes = 16 << 10
)

// Serve answers requests with service until ctx ends and the last of them has its answer,
// then removes the socket. The lock stays until Close: the daemon may not have done yet.
func (s *Server) Serve(ctx context.Context, service Service, log *slog.Logger) error {
	ctx, over := context.WithCancel(ctx)
	server := newHTTP(ctx, s.awaited(handler(service)), log)
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	defer s.asking.Lock() // waits for who answers, and no other begins
	defer s.hangUp()
	var serving sync.WaitGroup
	defer serving.Wait()
	defer over()

	inside, ended := make(chan struct{}, maxClients), make(chan error)
	open := func(listener net.Listener) {
		serving.Go(func() {
			err := server.Serve(&door{listener, inside, ctx, log})
			select {
			case ended <- err:
			case <-ctx.Done():
			}
		})
	}
	open(s.listener)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for told := false; ; {
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			if ctx.Err() == nil && !errors.Is(err, net.ErrClosed) { // else another is in its place
				return fmt.Errorf("serve the socket: %w", err)
			}
		case <-look.C:
			back, err := s.putBack()
			if back {
				open(s.listener)
				log.Warn("the socket had been removed, and is there again", "path", s.path)
			}
			if err != nil && !told {
				log.Error("the socket has been removed: nobody can ask this daemon", "error", err)
			}
			told = err != nil
		}
	}
}

// lookEvery is how often the socket is looked for. A daemon whose socket somebody has removed, with its
// directory perhaps, goes on, and nobody could tell it anything.
const lookEvery = time.Second

// putBack listens anew where nothing is at the path, and has the lock there again. Whatever else is there is
// left alone.
func (s *Server) putBack() (back bool, err error) {
	if _, err := os.Lstat(s.path); !errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err := s.lockAgain(); err != nil {
		return false, err
	}
	listener, err := listenPrivately(s.path)
	if err != nil {
		return false, err
	}
	s.listener.Close()
	s.listener = listener
	return true, nil
}

// lockAgain takes the lock that is at its path now, if that is another.
func (s *Server) lockAgain() error {
	held, err := s.lock.Stat()
	if err != nil {
		return err
	}
	if there, err := os.Stat(s.lock.Name()); err == nil && os.SameFile(held, there) {
		return nil
	}
	again, err := Lock(s.lock.Name())
	if err != nil {
		return err
	}
	s.lock.Close()
	s.lock = again
	return nil
}

func newHTTP(ctx context.Context, handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headAtMost,
		ReadTimeout:       patience,
		WriteTimeout:      2 * patience,
		IdleTimeout:       idleAtMost,
		MaxHeaderBytes:    headerBytes,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          stdlog.New(complaint{log}, "", 0),
	}
}

// awaited has Serve wait for who answers.
func (s *Server) awaited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.asking.TryRLock() {
			panic(http.ErrAbortHandler)
		}
		defer s.asking.RUnlock()
		next.ServeHTTP(w, r)
	})
}

// hangUp takes the socket away, once: later it may be that of the next daemon.
func (s *Server) hangUp() {
	s.hanging.Do(func() {
		s.listener.Close()
		os.Remove(s.path)
	})
}

// Close gives the socket and the lock back.
func (s *Server) Close() {
	s.hangUp()
	s.lock.Close()
}

func handler(service Service) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /v1/status", look(service.Status))
	mux.Handle("GET /v1/bans", list(service.Bans))
	mux.Handle("POST /v1/bans", change(service.Ban))
	mux.Handle("DELETE /v1/bans", change(service.Unban))
	reading := make(chan struct{}, listsAtOnce)
	mux.Handle("POST /v1/bans/list", changeList(reading, banList, service.Ban))
	mux.Handle("DELETE /v1/bans/list", changeList(reading, unbanList, service.Unban))
	mux.Handle("POST /v1/reload", look(service.Reload))
	mux.Handle("POST /v1/verify", change(service.Verify))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answer(w, http.StatusNotFound, &Error{Kind: Usage, Text: fmt.Sprintf("no such request: %s %s", r.Method, r.URL.Path)})
	})
	return mux
}

func look[Reply any](do func(context.Context) (Reply, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		reply, err := do(r.Context())
		conclude(w, reply, err)
	}
}

// list sends a list while it is read. Once a part of it has been sent, an error can be told
// by nothing but hanging up.
func list[T any](each func(context.Context, func(T) error) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		out := bufio.NewWriterSize(w, 1<<16)
		encoder := json.NewEncoder(out)
		n := 0
		err := each(r.Context(), func(item T) error {
			separator := byte(',')
			if n++; n == 1 {
				w.Header().Set("Content-Type", "application/json")
				separator = '['
			}
			out.WriteByte(separator) //nolint:errcheck // Encode says it
			return encoder.Encode(item)
		})
		if err != nil && n == 0 {
			conclude(w, nil, err)
			return
		}
		if n == 0 {
			conclude(w, []T{}, nil)
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		out.WriteString("]\n") //nolint:errcheck // the client has gone: nobody is left to tell
		out.Flush()            //nolint:errcheck // the same
	}
}

func change[Request, Reply any](do func(context.Context, Request) (Reply, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var request Request
		if err := decodeWhole(bodyOf(w, r, requestBytes), &request); err != nil {
			answer(w, http.StatusBadRequest, &Error{Kind: Usage, Text: "read the request: " + err.Error()})
			return
		}
		reply, err := do(r.Context(), request)
		conclude(w, reply, err)
	}
}

// decodeWhole reads one JSON document, behind which nothing may stand: what it asks for would not be done.
func decodeWhole(body io.Reader, request any) error {
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	err := decoder.Decode(request)
	if errors.Is(err, io.EOF) {
		return errors.New("it is empty; a JSON object is due")
	}
	if err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something stands behind its JSON object")
	}
	return nil
}

func conclude(w http.ResponseWriter, reply any, err error) {
	if err == nil {
		answer(w, http.StatusOK, reply)
		return
	}
	var known *Error
	if !errors.As(err, &known) {
		known = &Error{Kind: Failed, Text: err.Error()}
	}
	status := http.StatusInternalServerError
	if known.Kind != Failed {
		status = http.StatusBadRequest
	}
	answer(w, status, known)
}

func answer(w http.ResponseWriter, status int, reply any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(reply) //nolint:errcheck // the client has gone: nobody is left to tell
}
