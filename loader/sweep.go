package loader

import (
	"fmt"
	"net/netip"
	"time"

	"xdpban/internal/ban"
)

// sweepAtMost bounds how long one Sweep keeps its caller: some 2 ms.
const sweepAtMost = 1024

// Sweep deletes bans that have ended and returns them, as they were at their ends;
// missing are those that should have been there and were not: the kernel had evicted
// them. It looks only at bans that may have ended, and at some of them at most: call it
// about once a second, and again at once while Due says so.
func (l *Loader) Sweep() (ended []ban.Record, missing []netip.Prefix, err error) {
	s, err := l.sweep()
	if err != nil {
		err = explain(fmt.Errorf("sweep: %w", err))
	}
	return s.ended, s.missing, err
}

// Due reports whether there are bans that may have ended.
func (l *Loader) Due() bool { return len(l.account.Due(time.Now(), 1)) > 0 }

// A sweep is one round of it.
type sweep struct {
	now     moment
	pending map[uint32]ban.Count
	due     []place // to be deleted
	ended   []ban.Record
	missing []netip.Prefix
}

func (l *Loader) sweep() (s sweep, err error) {
	due := l.account.Due(time.Now(), sweepAtMost)
	if len(due) == 0 {
		return s, nil
	}
	if s.now, err = l.clock.now(); err != nil {
		return s, err
	}
	if s.pending, err = pending(l.maps.Pending); err != nil {
		return s, err
	}
	for _, prefix := range due {
		if err := l.sweepOne(&s, prefix); err != nil {
			return sweep{}, err
		}
	}
	if _, err := l.remove(s.due); err != nil {
		return sweep{}, err
	}
	return s, nil
}

// sweepOne deals with a ban that may have ended, all but deleting it. No packet moves the
// end of a ban that has ended, so that this can be done later.
func (l *Loader) sweepOne(s *sweep, prefix netip.Prefix) error {
	b, _ := l.account.Get(prefix)
	p := l.placeOf(&b)
	v, there, err := l.lookup(p)
	if err != nil {
		return err
	}
	if there && v.End > s.now.ns {
		l.account.Move(prefix, s.now.time(v.End)) // packets moved it, or the clock on the wall was moved
		return nil
	}
	s.due = append(s.due, p)
	if there {
		s.ended = append(s.ended, record(p, &v, s.now, l.labels.names[v.Label], s.pending))
	} else {
		s.missing = append(s.missing, prefix)
	}
	return nil
}
