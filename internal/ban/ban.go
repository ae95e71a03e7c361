// Package ban says what a ban is and how long it lasts.
package ban

import (
	"net/netip"
	"time"
)

// A Ban keeps one source of packets out until it has been quiet.
type Ban struct {
	Prefix netip.Prefix  // masked; IPv4 never in its mapped form; /32 or /128 is one address
	Jail   string        // who banned it; ByHand for an operator
	Reason string        // the rule that matched or what the operator said
	Since  time.Time     // when it began
	End    time.Time     // when it ends if no packet comes
	Limit  time.Time     // no refresh moves End past it; zero: no limit
	Quiet  time.Duration // every packet moves End to at least Quiet from then; 0: none does
	Hand   bool          // an operator made it: it is never evicted
	Forced bool          // drops even what the allow list holds
}

// ByHand is the jail of bans that an operator made.
const ByHand = "manual"

// A Tally is what enforcement saw of a ban.
type Tally struct {
	Packets   uint64    // dropped
	Bytes     uint64    // dropped: layer 2 header, and the length that the IP header gives
	Seen      time.Time // the last packet, to the second; zero: none came
	Refreshes uint32    // times that End was moved
}

// A Count is a number of packets and of their bytes.
type Count struct{ Packets, Bytes uint64 }

// Totals are what enforcement did with packets of banned sources.
type Totals struct {
	Dropped Count
	Allowed Count // let through because the allow list holds the source
}

// A Record is a ban as it is enforced.
type Record struct {
	Ban
	Tally
}

// Live reports whether b drops packets at now.
func (b Ban) Live(now time.Time) bool { return now.Before(b.End) }

// Refreshed is b after a packet at now: the end moves to now+Quiet, never back and
// never past Limit. A ban that has ended stays ended.
func (b Ban) Refreshed(now time.Time) Ban {
	if b.Quiet == 0 || !b.Live(now) {
		return b
	}
	end := now.Add(b.Quiet)
	if !b.Limit.IsZero() && end.After(b.Limit) {
		end = b.Limit
	}
	if end.After(b.End) {
		b.End = end
	}
	return b
}

// Renewed is b after its source was banned again as next: it keeps its beginning and
// takes whatever lasts longer. Both must name the same prefix.
func (b Ban) Renewed(next Ban) Ban {
	next.Since = b.Since
	next.Hand = b.Hand || next.Hand
	next.Forced = b.Forced || next.Forced
	if b.End.After(next.End) {
		next.End = b.End
	}
	if b.Limit.IsZero() || (!next.Limit.IsZero() && b.Limit.After(next.Limit)) {
		next.Limit = b.Limit
	}
	if b.Quiet > next.Quiet {
		next.Quiet = b.Quiet
	}
	return next
}
