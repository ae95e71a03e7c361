package daemon

import (
	"log/slog"
	"net/netip"
	"time"

	"xdpban/internal/ban"
	"xdpban/internal/control"
	"xdpban/jails"
)

// An enforcer keeps banned sources out: the kernel, or nothing but an account of them.
type enforcer interface {
	keeper
	// Attach enforces on the interface called name, or makes sure that it still does.
	Attach(name string) (attachment, error)
	// Attachments are what an earlier daemon enforced on.
	Attachments() ([]attachment, error)
	Detach(name string) error
	// Settle is called when all interfaces have been attached. It takes out what is no longer
	// needed, or complains of it.
	Settle() error
	// Mend puts back what others took away, and says what that was.
	Mend(thorough bool) ([]string, error)
	// Account is every ban that is wanted. The enforcer keeps it; the loop may read it.
	Account() *ban.Account
	// Restore makes bans what they were before they were renewed.
	Restore(...ban.Ban) error
	// Batch is how many bans it takes at one time without holding up the loop for longer than
	// it must.
	Batch() int
	// Due reports whether Sweep has left something to do.
	Due() bool
	// Lister reads the bans in force, off the loop.
	Lister() (lister, error)
	// Compare looks for differences between what is wanted and what is in force, and mends
	// them. It runs off the loop, which it takes for short turns.
	Compare(turn turn) (comparison, error)
	// Rooms are how much there is room for, and how much of it is used.
	Rooms() []control.Room
	// Test says what becomes of packets from addr, by each way to enforce.
	Test(addr netip.Addr) ([]verdict, error)
	Clock() string
	// Notes say how bans are enforced beside interfaces, and what speaks against it.
	Notes() []string
}

// A lister calls yield with every ban in force, in no order, until it says no.
type lister func(yield func(ban.Record) bool) error

// A turn has the loop call a function, and returns what comes of it.
type turn func(func() error) error

// A keeper holds bans in one place: the verbs that loader and fallback share.
type keeper interface {
	Ban(...ban.Ban) error
	Unban(...netip.Prefix) (int, error)
	Sweep() (ended []ban.Record, missing []netip.Prefix, err error)
	Allow(*ban.Set) error
	Totals() (ban.Totals, error)
	Close() error
}

// The ways to enforce that are no mode of XDP.
const (
	byIPTables = "iptables"
	byNothing  = "none"
)

// An attachment is how bans are enforced on one interface.
type attachment struct {
	Interface string
	Index     int
	Mode      string    // native, generic, iptables, observe or none
	Refusals  []string  // why not a better mode
	Since     time.Time // that it is enforced like that
	refused   error     // nothing is enforced there
}

// A comparison is what is wanted against what is in force.
type comparison struct {
	wanted   int
	enforced int            // of what is wanted, everywhere where it should be
	evicted  int            // that the kernel had dropped for want of room, put back
	repaired int            // put back, those among them
	unknown  []netip.Prefix // in force, and nobody wants it; some of them where there are many
	unknowns int            // how many they are
	returned []ban.Record   // by XDP, that were quiet and send again; the kernel itself logs those of the chain
	returns  int            // how many they are: of many returned has some
}

// A verdict is what one way to enforce does with a packet.
type verdict struct {
	mode string
	drop bool
	by   ban.Record // what it meets; the zero Record: nothing
	note string
}

func openEnforcer(config *jails.Config, log *slog.Logger) (enforcer, error) {
	if config.Enforce == jails.Observe {
		return newObserver(config), nil
	}
	l := &ladder{config: config, log: log, guarded: make(map[string]attachment), allowed: new(ban.Set)}
	if err := l.open(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}
