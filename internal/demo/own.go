package demo

import (
	"errors"
	"fmt"
	"log/syslog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"xdpban/internal/lab"
)

// ownPeers stand in where Kamailio and sipp cannot be had: a registrar that knows nobody
// and says so in its log, and a scanner that tries one extension after the other.
type ownPeers struct {
	syslog  *lab.Syslog
	udp     net.PacketConn
	tcp     net.Listener
	caller  net.Conn
	running sync.WaitGroup
}

func (p *ownPeers) serve(on *lab.Host) (string, error) {
	var err error
	if p.syslog, err = lab.StartSyslog(sipLog, "sip"); err != nil {
		return "", err
	}
	log, err := syslog.New(syslog.LOG_LOCAL0|syslog.LOG_NOTICE, "registrar")
	if err != nil {
		return "", fmt.Errorf("open syslog: %w", err)
	}
	address := netip.AddrPortFrom(serverAddr, 5060).String()
	err = on.Do(func() (err error) {
		if p.udp, err = net.ListenPacket("udp", address); err != nil {
			return fmt.Errorf("listen on %s: %w", address, err)
		}
		if p.tcp, err = net.Listen("tcp", address); err != nil {
			return fmt.Errorf("listen on %s: %w", address, err)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	p.running.Go(func() { p.register(log) })
	return "a small registrar", nil
}

// register refuses everybody until the socket is closed.
func (p *ownPeers) register(log *syslog.Writer) {
	defer log.Close()
	request := make([]byte, 4096)
	for {
		n, peer, err := p.udp.ReadFrom(request)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		who := header(string(request[:n]), "From")
		log.Notice(fmt.Sprintf("REGISTER of '%s' refused for '%s': no such extension", who, peer)) //nolint:errcheck // its own log is all it has
		p.udp.WriteTo([]byte("SIP/2.0 403 Forbidden\r\n\r\n"), peer)                               //nolint:errcheck // UDP
	}
}

// header is the value of a SIP header.
func header(request, name string) string {
	for line := range strings.Lines(request) {
		if value, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (p *ownPeers) jail() string {
	return `  registrar:
    enabled: true
    maxretry: 3
    logpath: [` + sipLog + `]
    failregex: ["^<PREFIX>REGISTER of '.*' refused for '<ADDR>:[0-9]+': no such extension$"]
`
}

func (p *ownPeers) scan(from *lab.Host) (string, error) {
	err := from.Do(func() (err error) {
		p.caller, err = net.Dial("udp", netip.AddrPortFrom(serverAddr, 5060).String())
		return err
	})
	if err != nil {
		return "", fmt.Errorf("start the scanner: %w", err)
	}
	caller := p.caller
	p.running.Go(func() {
		tick := time.NewTicker(time.Second / callsPerSecond)
		defer tick.Stop()
		for extension := range callsAtMost {
			<-tick.C
			// The From header names another host, as a scanner's may: it must not be banned for it.
			_, err := fmt.Fprintf(caller, "REGISTER sip:%s SIP/2.0\r\nFrom: <sip:%d@203.0.113.9>\r\n\r\n", serverAddr, extension)
			if errors.Is(err, net.ErrClosed) {
				return
			}
		}
	})
	return fmt.Sprintf("the scanner tries %d extensions a second", callsPerSecond), nil
}

func (p *ownPeers) evidence() string { return firstLine(sipLog, "no such extension") }

func (p *ownPeers) hush() {
	if p.caller != nil {
		p.caller.Close()
	}
}

func (p *ownPeers) close() {
	p.hush()
	if p.udp != nil {
		p.udp.Close()
	}
	if p.tcp != nil {
		p.tcp.Close()
	}
	p.running.Wait()
	if p.syslog != nil {
		p.syslog.Close() //nolint:errcheck // the log has served
	}
}
