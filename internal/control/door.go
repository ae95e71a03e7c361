package control

import (
	"net"
	"sync"
)

// A door lets so many clients in at a time; the others wait outside.
type door struct {
	net.Listener
	inside chan struct{}
}

// Accept waits for the next client and for room.
func (d *door) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	d.inside <- struct{}{} // clients leave at the latest when their time is up
	return &visitor{Conn: conn, leave: sync.OnceFunc(func() { <-d.inside })}, nil
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
