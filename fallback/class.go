package fallback

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"xdpban/internal/ban"
)

// A class is bans that share rules: prefixes of one length, which packets prolong alike.
type class struct {
	bits    int
	quiet   uint32 // seconds; 0: packets prolong nothing
	forced  bool   // the allow list does not matter
	limited bool   // the end moves up to a limit; only recent tells these apart
}

func classOf(b ban.Ban) class {
	quiet := min((b.Quiet+time.Second-1)/time.Second, setTimeoutMax)
	return class{bits: b.Prefix.Bits(), quiet: uint32(quiet), forced: b.Forced}
}

// String is part of the names of chains and sets: 32-3600, 64-3600f.
func (c class) String() string {
	s := fmt.Sprintf("%d-%d", c.bits, c.quiet)
	if c.forced {
		s += "f"
	}
	if c.limited {
		s += "l"
	}
	return s
}

// parseClass reads what String writes.
func parseClass(s string) (c class, ok bool) {
	s, c.limited = strings.CutSuffix(s, "l")
	s, c.forced = strings.CutSuffix(s, "f")
	bits, quiet, found := strings.Cut(s, "-")
	length, err := strconv.ParseUint(bits, 10, 8)
	seconds, err2 := strconv.ParseUint(quiet, 10, 32)
	c.bits, c.quiet = int(length), uint32(seconds)
	return c, found && err == nil && err2 == nil
}

// chain is where packets go that may meet a ban of c.
func (c class) chain() string { return Name + "-" + c.String() }

// left is how long it is until t in seconds of a timeout, never less: a ban that ends
// early would be one that was made shorter. What is beyond the longest timeout is put
// again in time.
func left(t, now time.Time) uint32 {
	seconds := math.Ceil(t.Sub(now).Seconds())
	return uint32(max(1, min(seconds, setTimeoutMax)))
}
