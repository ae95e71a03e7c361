package lab

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// A Syslog is the syslog daemon of the lab: it takes what programs send to /dev/log and
// appends it to a file.
type Syslog struct {
	socket *net.UnixConn
	file   *os.File
	done   chan error
}

// StartSyslog binds the lab's own /dev/log and writes what comes there to the file path,
// as lines of a host with that name. Close it.
func StartSyslog(path, host string) (*Syslog, error) {
	if os.Getenv(inside) == "" {
		return nil, errors.New("start syslog: /dev/log outside the lab is not ours")
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/dev/log", Net: "unixgram"})
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("listen on /dev/log: %w", err)
	}
	if err := os.Chmod("/dev/log", 0o666); err != nil { // daemons log after they gave up root
		socket.Close()
		file.Close()
		return nil, fmt.Errorf("open /dev/log to everybody: %w", err)
	}
	s := &Syslog{socket, file, make(chan error)}
	go s.receive(host)
	return s, nil
}

// Close stops the syslog daemon. The file stays.
func (s *Syslog) Close() error {
	s.socket.Close()
	err := errors.Join(<-s.done, s.file.Close())
	os.Remove("/dev/log")
	return err
}

func (s *Syslog) receive(host string) {
	message := make([]byte, 64<<10)
	for {
		n, err := s.socket.Read(message)
		if errors.Is(err, net.ErrClosed) {
			s.done <- nil
			return
		}
		if err == nil {
			_, err = s.file.Write(entry(message[:n], host))
		}
		if err != nil {
			s.done <- fmt.Errorf("keep a log message: %w", err)
			return
		}
	}
}

// entry is the line that a syslog daemon writes for message, `<PRI>STAMP TAG: TEXT`
// (RFC 3164, section 4.1): without the priority, with the host's name after the stamp,
// control characters escaped as rsyslog does.
func entry(message []byte, host string) []byte {
	if _, rest, ok := bytes.Cut(message, []byte(">")); ok && bytes.HasPrefix(message, []byte("<")) {
		message = rest
	}
	message = bytes.TrimRight(message, "\x00\n")
	stamp := []byte(time.Now().Format(time.Stamp))
	if len(message) > len(time.Stamp) && message[len(time.Stamp)] == ' ' {
		if _, err := time.Parse(time.Stamp, string(message[:len(time.Stamp)])); err == nil {
			stamp, message = message[:len(time.Stamp)], message[len(time.Stamp)+1:]
		}
	}
	line := append(append([]byte{}, stamp...), ' ')
	line = append(append(line, host...), ' ')
	for _, c := range message {
		if c < ' ' || c == 0x7f {
			line = fmt.Appendf(line, "#%03o", c)
			continue
		}
		line = append(line, c)
	}
	return append(line, '\n')
}
