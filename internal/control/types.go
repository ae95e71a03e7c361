// Package control is the daemon's API: HTTP and JSON on a unix socket.
//
//	GET    /v1/status     Status
//	GET    /v1/bans       a list of Ban, sent while it is read
//	POST   /v1/bans       BanRequest    -> BanReply
//	DELETE /v1/bans       UnbanRequest  -> UnbanReply
//	POST   /v1/bans/list  a list        -> BanReply
//	DELETE /v1/bans/list  a list        -> UnbanReply
//	POST   /v1/reload                   -> ReloadReply
//	POST   /v1/verify     VerifyRequest -> VerifyReply
//
// A list is text, an address or a prefix a line, as long as it may be. What its request has beside
// it are parameters, all of which may be left out:
//
//	curl --unix-socket /run/xdpban/xdpban.sock --data-binary @drop.txt \
//	    'http://xdpban/v1/bans/list?seconds=3600&jail=sshd&reason=feed&spare=192.0.2.1&force=false&name=drop.txt'
//
// Whatever goes wrong comes back as an Error with a status of 400 or above.
package control

import (
	"io"
	"net/netip"
	"time"

	"xdpban/internal/ban"
)

// Status is what the daemon does and how well.
type Status struct {
	Version    string      `json:"version"`
	PID        int         `json:"pid"`
	Since      time.Time   `json:"since"`
	Config     string      `json:"config"`  // path, or "embedded default"
	Enforce    string      `json:"enforce"` // as configured: auto, xdp, iptables, observe
	Clock      string      `json:"clock"`   // what tells the kernel program the time
	Interfaces []Interface `json:"interfaces"`
	Chain      Chain       `json:"chain"`
	Faults     []string    `json:"faults"` // what keeps bans from being in force, now
	Bans       Use         `json:"bans"`
	Rooms      []Room      `json:"rooms"`
	Packets    Packets     `json:"packets"`
	Allowed    []Allowed   `json:"allowed"`
	Jails      []Jail      `json:"jails"`
	Others     []Holder    `json:"others"` // who holds bans and is no jail of the configuration
}

// A Holder has bans and counts nothing: whoever bans by hand, or a jail that is gone.
type Holder struct {
	Name string `json:"name"`
	Bans int    `json:"bans"` // live now
}

// Interface is how bans are enforced on one network interface.
type Interface struct {
	Name    string    `json:"name"`
	Mode    string    `json:"mode"`    // native, generic, iptables, observe, or "none"
	Reasons []string  `json:"reasons"` // why not a better mode
	Since   time.Time `json:"since"`
}

// Chain is how iptables enforces, where it has to, and what was put back of it after others
// had taken it out.
type Chain struct {
	Notes  []string  `json:"notes"` // for each family: how, and what speaks against it
	Mended uint64    `json:"mended"`
	Last   string    `json:"last_mended,omitempty"`
	At     time.Time `json:"last_mended_at,omitzero"`
}

// Use is how full the tables of bans are.
type Use struct {
	Live    int    `json:"live"`
	Max     uint32 `json:"max"`
	Total   uint64 `json:"total"`   // since the daemon started
	Missing uint64 `json:"missing"` // that the kernel had lost before they ended

	Enforced int    `json:"enforced"` // of Live, when the kernel was last compared with what is wanted
	Evicted  uint64 `json:"evicted"`  // that the kernel had dropped for want of room, and that were put back
	Repaired uint64 `json:"repaired"` // put back after they were lost, those among them
	Unknown  int    `json:"unknown"`  // in the kernel, and wanted by nobody
	Refused  uint64 `json:"refused"`  // found in logs, and given up because there was no room for them
}

// Room is a table of the kernel and how full it is.
type Room struct {
	Of   string `json:"of"`
	Used int    `json:"used"`
	Max  int    `json:"max"`            // of what it is used for
	Size int    `json:"size,omitempty"` // of the map, which is larger where the kernel would otherwise evict
	Key  string `json:"key"`            // of the configuration, which decides it
}

// Packets counts what the kernel program did since it was loaded first, over all interfaces.
type Packets struct {
	Dropped      uint64 `json:"dropped"`
	DroppedBytes uint64 `json:"dropped_bytes"`
	Spared       uint64 `json:"spared"` // of banned sources that are on the allow list
}

// Allowed is a prefix that is never banned.
type Allowed struct {
	Prefix netip.Prefix `json:"prefix"`
	Origin string       `json:"origin"` // ignoreip, address of eth0, default gateway, resolver
}

// Jail is one jail's state.
type Jail struct {
	Name      string    `json:"name"`
	Enabled   bool      `json:"enabled"`
	Filter    string    `json:"filter"`
	Bans      int       `json:"bans"`      // live now
	Banned    uint64    `json:"banned"`    // since the daemon started
	Lines     uint64    `json:"lines"`     // read
	Matched   uint64    `json:"matched"`   // by a failregex
	Ignored   uint64    `json:"ignored"`   // by an ignoreregex
	Allowed   uint64    `json:"allowed"`   // failures of addresses that are never banned
	Untrusted uint64    `json:"untrusted"` // matches whose address the attacker may have written
	Names     uint64    `json:"names"`     // matches that gave a name instead of an address
	Stale     uint64    `json:"stale"`     // matches that were too old to count when they were read
	TimedOut  uint64    `json:"timed_out"` // lines on which a regex took too long, so that nobody knows whether it matches
	Sources   int       `json:"sources"`   // that have failures counted now
	Forgotten uint64    `json:"forgotten"` // sources whose failures had to be forgotten for want of room
	LastMatch time.Time `json:"last_match,omitzero"`
	Logs      []Log     `json:"logs"`
}

// Log is one followed file.
type Log struct {
	Path    string    `json:"path"`
	Lag     int64     `json:"lag"` // bytes written and not read yet
	Lines   uint64    `json:"lines"`
	TooLong uint64    `json:"too_long"`      // lines dropped for their length
	Skipped uint64    `json:"skipped"`       // bytes left out because the log was more than maxlag behind
	Torn    uint64    `json:"torn"`          // lines dropped because a truncation or rotation took a part of them
	Waking  string    `json:"waking"`        // inotify or polling
	Problem string    `json:"problem"`       // empty: none
	Last    time.Time `json:"last,omitzero"` // when the last line came
}

// Ban is a ban in force.
type Ban struct {
	Prefix    netip.Prefix `json:"prefix"`
	Jail      string       `json:"jail"`
	Reason    string       `json:"reason"`
	Since     time.Time    `json:"since"`
	End       time.Time    `json:"end"`
	Limit     time.Time    `json:"limit,omitzero"`
	Forced    bool         `json:"forced,omitempty"`
	Left      float64      `json:"left"` // seconds
	Packets   uint64       `json:"packets"`
	Bytes     uint64       `json:"bytes"`
	Seen      time.Time    `json:"seen,omitzero"`
	Refreshes uint32       `json:"refreshes"`
}

// View is r as it is shown at now.
func View(r ban.Record, now time.Time) Ban {
	return Ban{
		Prefix: r.Prefix, Jail: r.Jail, Reason: r.Reason, Since: r.Since, End: r.End, Limit: r.Limit, Forced: r.Forced,
		Left: r.End.Sub(now).Seconds(), Packets: r.Packets, Bytes: r.Bytes, Seen: r.Seen, Refreshes: r.Refreshes,
	}
}

// BanRequest bans by hand. All of it is done or nothing.
type BanRequest struct {
	Prefixes  []netip.Prefix `json:"prefixes"`
	Addresses []netip.Addr   `json:"addresses"` // each with its neighbours of ipv6_prefix
	List      io.Reader      `json:"-"`         // more of both as text, one a line; nil: none
	Name      string         `json:"-"`         // of List, where its mistakes are told
	Seconds   int64          `json:"seconds"`   // how long; 0: the default bantime
	Jail      string         `json:"jail"`      // whose ban it is; empty: manual
	Reason    string         `json:"reason"`
	Spare     []netip.Addr   `json:"spare"` // of whoever asks: their ssh client
	Force     bool           `json:"force"` // ban even what the allow list holds
}

// Named is how many prefixes a reply names at most; of more it says the number alone.
const Named = 1000

// BanReply says what was banned.
type BanReply struct {
	Banned []netip.Prefix `json:"banned"` // none where there are more than Named
	Count  int            `json:"count"`
	Until  time.Time      `json:"until"`
	Spared []Allowed      `json:"spared"` // allowed inside a banned prefix: their packets still pass
}

// UnbanRequest ends bans.
type UnbanRequest struct {
	Prefixes  []netip.Prefix `json:"prefixes"`
	Addresses []netip.Addr   `json:"addresses"` // alone or with their neighbours of ipv6_prefix
	List      io.Reader      `json:"-"`         // more of both as text, one a line; nil: none
	Name      string         `json:"-"`         // of List, where its mistakes are told
	All       bool           `json:"all"`
}

// UnbanReply says what was done for each.
type UnbanReply struct {
	Unbanned []netip.Prefix `json:"unbanned"` // none where there are more than Named
	Count    int            `json:"count"`
	Absent   []Absent       `json:"absent"` // Named of them at most
	Absents  int            `json:"absents"`
}

// Absent is an address that had no ban of its own.
type Absent struct {
	Prefix  netip.Prefix `json:"prefix"`
	Covered netip.Prefix `json:"covered,omitzero"` // the banned prefix that it lies in, if any
}

// VerifyRequest asks what becomes of packets from Address; without it, whether all that is
// wanted is in force.
type VerifyRequest struct {
	Address netip.Addr `json:"address,omitzero"`
}

// VerifyReply has one or the other.
type VerifyReply struct {
	Verdicts []Verdict   `json:"verdicts,omitempty"`
	Compared *Comparison `json:"compared,omitempty"`
}

// Verdict is what becomes of a packet on one interface, by the kernel's own answer.
type Verdict struct {
	Interface string `json:"interface"`
	Mode      string `json:"mode"`
	Verdict   string `json:"verdict"`       // DROP or PASS
	By        *Ban   `json:"by,omitempty"`  // the ban that it meets
	Note      string `json:"note,omitzero"` // why it passes all the same
}

// The verdicts.
const (
	Drop = "DROP"
	Pass = "PASS"
)

// Comparison is what is wanted against what is in force. What was missing has been put back.
type Comparison struct {
	Wanted   int            `json:"wanted"`
	Enforced int            `json:"enforced"`
	Evicted  int            `json:"evicted"`
	Repaired int            `json:"repaired"`
	Unknown  []netip.Prefix `json:"unknown"` // Named of them at most
	Unknowns int            `json:"unknowns"`
	Mended   []string       `json:"mended"` // of the chain
}

// ReloadReply says what runs now.
type ReloadReply struct {
	Config string   `json:"config"`
	Jails  []string `json:"jails"` // enabled
}

// Kind sorts errors by what a program can do about them.
type Kind string

// The kinds of Error.
const (
	Usage    Kind = "usage"         // the request is wrong
	Failed   Kind = "failed"        // the daemon could not do it
	BadSetup Kind = "configuration" // the configuration has errors; the running one stays
)

// Error is what the daemon answers when something went wrong.
type Error struct {
	Kind Kind   `json:"kind"`
	Text string `json:"error"`
	Hint string `json:"hint,omitempty"`
}

func (e *Error) Error() string { return e.Text }
