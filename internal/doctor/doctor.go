// Package doctor finds out what this host can do to keep bans in force, by trying it where
// nothing is touched by that, and what stands in the way.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"xdpban/internal/control"
	"xdpban/jails"
	"xdpban/loader"
)

// A State is how grave a finding is.
type State string

// The states.
const (
	OK   State = "ok"
	Note State = "note" // works, but
	Bad  State = "bad"  // bans are not in force, or will not be
)

// A Finding is one thing about this host.
type Finding struct {
	State   State  `json:"state"`
	About   string `json:"about"`
	Found   string `json:"found"`
	Meaning string `json:"meaning,omitempty"` // the consequence, where the state is not ok
	Next    string `json:"next,omitempty"`    // what to do, likewise
}

// A Host is what is examined.
type Host struct {
	Config  *jails.Config
	Client  *control.Client   // asks the daemon, if one runs
	Allowed []control.Allowed // whom a daemon would never ban, where none runs
	Unknown error             // why Allowed is not all
	Now     time.Time
}

// An examination collects findings.
type examination struct {
	Host
	status   *control.Status // nil: no daemon answers
	findings []Finding
}

func (e *examination) add(state State, about, found, meaning, next string) {
	e.findings = append(e.findings, Finding{state, about, found, meaning, next})
}

// Examine looks at h as its configuration would have it used.
func Examine(ctx context.Context, h Host) []Finding {
	e := &examination{Host: h}
	e.daemon(ctx)
	e.kernel()
	e.xdp()
	e.iptables()
	e.interfaces()
	e.allowed()
	e.logs()
	e.clock()
	return e.findings
}

func (e *examination) daemon(ctx context.Context) {
	status, err := e.Client.Status(ctx)
	if err != nil {
		e.add(Note, "daemon", err.Error(), "nothing new is banned; what is banned stays so, until its end", "systemctl start xdpban")
		return
	}
	e.status = &status
	e.add(OK, "daemon", fmt.Sprintf("runs, version %s, %d bans", status.Version, status.Bans.Live), "", "")
	for _, fault := range status.Faults {
		if e.Config.Enforce == jails.Observe {
			e.add(Bad, "daemon", fault, "it only observes and ends no ban of an earlier run", "as it says")
			continue
		}
		e.add(Bad, "daemon", fault, "bans are not in force there", "see the lines below, and the daemon's log")
	}
	if status.Bans.Unknown > 0 {
		e.add(Note, "bans", fmt.Sprintf("%d in the kernel that nobody wants", status.Bans.Unknown), "somebody else put them there", "xdpban verify lists them")
	}
	if status.Bans.Evicted+status.Bans.Missing > 0 {
		e.add(Note, "bans", fmt.Sprintf("%d fell out of the kernel's map, %d were put back", status.Bans.Evicted+status.Bans.Missing, status.Bans.Evicted), "somebody passed for a while", "raise maxbans")
	}
	if status.Chain.Mended > 0 {
		e.add(Note, "chain", fmt.Sprintf("put back %d times, last: %s", status.Chain.Mended, status.Chain.Last), "another program rewrites the firewall", "nothing; find it if that goes on")
	}
}

func (e *examination) kernel() {
	var name unix.Utsname
	release := "unknown"
	if unix.Uname(&name) == nil {
		release = unix.ByteSliceToString(name.Release[:])
	}
	e.add(OK, "kernel", "Linux "+release, "", "")
	if missing := loader.MissingCapabilities(); missing != "" {
		e.add(Bad, "privilege", "this process lacks "+missing, "what follows is what it may do, not what the daemon may", "run doctor as root")
	}
	mode, err := os.ReadFile("/sys/kernel/security/lockdown")
	if err == nil && strings.Contains(string(mode), "[confidentiality]") {
		e.add(Note, "lockdown", "the kernel is locked down for confidentiality", "it may refuse bpf(2)", "nothing: iptables enforces then")
	}
}

func (e *examination) xdp() {
	if e.Config.Enforce == jails.IPTables {
		e.add(OK, "xdp", "not used: enforce: iptables", "", "")
		return
	}
	able, err := tryXDP()
	if err != nil {
		e.add(e.lack(), "xdp", err.Error(), e.withoutXDP(), "a kernel of 5.3 or later, with CONFIG_BPF_SYSCALL, does it")
	} else {
		e.add(OK, "xdp", "the kernel takes the program and its maps; its clock: "+able.Clock+able.held(), "", "")
	}
	e.bpffs()
}

// ability is what the kernel does, as far as it could be tried.
type ability struct{ loader.Ability }

func (a ability) held() string {
	if a.Held == "" {
		return "" // no interface could be made to try it on
	}
	return "; interfaces are held by " + a.Held
}

func tryXDP() (able ability, err error) {
	err = aside(unix.CLONE_NEWNET, func() (err error) {
		able.Ability, err = loader.Probe("lo")
		return err
	})
	if errors.Is(err, errAside) {
		able.Ability, err = loader.Probe("")
	}
	return able, err
}

func (e *examination) bpffs() {
	on, err := loader.OnBPF(e.Config.Pin)
	if err != nil {
		e.add(e.lack(), "bpffs", err.Error(), e.withoutXDP(), "see pin in the configuration")
		return
	}
	if on {
		e.add(OK, "bpffs", "bans outlive the daemon at "+e.Config.Pin, "", "")
		return
	}
	err = aside(unix.CLONE_NEWNS, func() error {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return fmt.Errorf("make mounts private: %w", err)
		}
		return loader.MountBPF(e.Config.Pin)
	})
	if err != nil {
		e.add(e.lack(), "bpffs", err.Error(), e.withoutXDP(), "mount -t bpf bpf /sys/fs/bpf, and see pin in the configuration")
		return
	}
	e.add(OK, "bpffs", "there is none at "+e.Config.Pin+"; the daemon mounts it: bans outlive it there", "", "")
}

// lack is how grave it is that XDP is not to be had.
func (e *examination) lack() State {
	if e.Config.Enforce == jails.XDP {
		return Bad
	}
	return Note
}

func (e *examination) withoutXDP() string {
	if e.Config.Enforce == jails.XDP {
		return "enforce: xdp cannot be met: the daemon does not start"
	}
	return "iptables enforces: a dropped packet costs three times as much"
}

// allowed says who is never banned, by where that comes from.
func (e *examination) allowed() {
	list := e.Allowed
	if e.status != nil {
		list = e.status.Allowed
	} else if e.Unknown != nil {
		e.add(Note, "never banned", e.Unknown.Error(), "an entry that is missing could be banned", "name it in ignoreip")
	}
	by := make(map[string][]string)
	var origins []string
	for _, a := range list {
		if by[a.Origin] == nil {
			origins = append(origins, a.Origin)
		}
		text := a.Prefix.String()
		if a.Prefix.IsSingleIP() {
			text = a.Prefix.Addr().String()
		}
		by[a.Origin] = append(by[a.Origin], text)
	}
	for _, origin := range origins {
		e.add(OK, "never banned", origin+": "+strings.Join(by[origin], " "), "", "")
	}
}

func (e *examination) clock() {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	switch {
	case e.Now.Year() < 2025:
		e.add(Bad, "clock", "it is "+e.Now.Format(time.DateTime)+" here", "lines of logs seem old or young, bans end at wrong times", "set the clock")
	case err == nil && state == unix.TIME_ERROR:
		e.add(Note, "clock", "nobody keeps it right (not synchronised)", "a jump ends no ban in the kernel, but moves ends that are told", "run chrony or systemd-timesyncd")
	default:
		e.add(OK, "clock", "synchronised", "", "")
	}
}
