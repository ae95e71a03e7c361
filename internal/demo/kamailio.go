package demo

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"xdpban/internal/lab"
)

// peers are the two that xdpban stands between.
type peers interface {
	serve(on *lab.Host) (name string, err error) // starts the server, whose log is sipLog
	jail() string                                // YAML, a jail for that log
	scan(from *lab.Host) (name string, err error)
	evidence() string // the line of the log that gives the scanner away; empty: not yet
	hush()            // stops the scanner
	close()           // stops the server
}

// callsPerSecond that the scanner makes, and how many at most.
const (
	callsPerSecond = 200
	callsAtMost    = 20000
)

// realPeers are Kamailio with its stock configuration, and sipp.
type realPeers struct {
	syslog           *lab.Syslog
	kamailio, caller *exec.Cmd
}

// stockConfig is Kamailio's own, as Debian installs it.
const stockConfig = "/etc/kamailio/kamailio.cfg"

// missingPeers names a program that the real peers need and this machine lacks.
func missingPeers() string {
	for _, name := range []string{"kamailio", "sipp"} {
		if _, err := exec.LookPath(name); err != nil {
			return name
		}
	}
	if _, err := os.Stat(stockConfig); err != nil {
		return stockConfig
	}
	return ""
}

func (p *realPeers) serve(on *lab.Host) (string, error) {
	version, err := exec.Command("kamailio", "-v").Output()
	if err != nil {
		return "", fmt.Errorf("ask kamailio for its version: %w", err)
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(string(version), "version: "), " (")
	if p.syslog, err = lab.StartSyslog(sipLog, "sip"); err != nil {
		return "", err
	}
	if err := os.MkdirAll("/run/kamailio", 0o755); err != nil {
		return "", fmt.Errorf("make a directory: %w", err)
	}
	// -DD: in the foreground, with its workers; -A WITH_ANTIFLOOD: what the stock configuration
	// calls its pike module.
	p.kamailio = exec.Command("kamailio", "-DD", "-f", stockConfig, "-A", "WITH_ANTIFLOOD", "-m", "32", "-M", "4",
		"-l", "udp:"+serverAddr.String()+":5060", "-l", "tcp:"+serverAddr.String()+":5060")
	if err := on.Start(p.kamailio); err != nil {
		return "", fmt.Errorf("start kamailio: %w", err)
	}
	return strings.TrimSpace(name) + ", stock configuration with its anti-flood module,", nil
}

func (p *realPeers) jail() string {
	return "  kamailio: {enabled: true, filter: kamailio, maxretry: 1, logpath: [" + sipLog + "]}\n"
}

func (p *realPeers) scan(from *lab.Host) (string, error) {
	p.caller = exec.Command("sipp", "-sn", "uac", "-i", scannerAddr.String(), "-nostdin", "-timeout", "100s",
		"-r", fmt.Sprint(callsPerSecond), "-m", fmt.Sprint(callsAtMost), "-l", fmt.Sprint(callsAtMost), serverAddr.String()+":5060")
	p.caller.Dir = dir
	if err := from.Start(p.caller); err != nil {
		return "", fmt.Errorf("start sipp: %w", err)
	}
	return fmt.Sprintf("sipp makes %d calls a second", callsPerSecond), nil
}

func (p *realPeers) evidence() string { return firstLine(sipLog, "PIKE - BLOCKing ip") }

func (p *realPeers) hush() {
	end(p.caller)
	p.caller = nil
}

func (p *realPeers) close() {
	end(p.kamailio)
	if p.syslog != nil {
		p.syslog.Close() //nolint:errcheck // the log has served
	}
}

// end stops a process that was started, and its workers with it, and waits.
func end(cmd *exec.Cmd) {
	if cmd == nil || cmd.Process == nil {
		return
	}
	stubborn := time.AfterFunc(patience, func() { cmd.Process.Kill() }) //nolint:errcheck // it has ended, then
	defer stubborn.Stop()
	if err := cmd.Process.Signal(unix.SIGTERM); err == nil {
		cmd.Wait() //nolint:errcheck // ended by a signal, as it says
	}
}

// firstLine is the first line of a log that holds text.
func firstLine(path, text string) string {
	log, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, text) && strings.HasSuffix(line, "\n") {
			return line
		}
	}
	return ""
}
