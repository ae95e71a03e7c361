package jails

import (
	"time"

	"xdpban/jails/source"
)

// JailStatus is what a jail has seen since the daemon started or the jail was changed.
type JailStatus struct {
	Name      string
	Enabled   bool
	Filter    string
	Files     []source.FileStatus // logs, and patterns that no file matches
	Lines     uint64              // read
	Matched   uint64              // by a failregex and by no ignoreregex
	Ignored   uint64              // by an ignoreregex too
	Allowed   uint64              // matches of addresses in ignoreip
	Untrusted uint64              // matches whose address the attacker may have written
	Names     uint64              // matches that gave a name instead of an address
	Stale     uint64              // matches that were too old to count when they were read
	Sources   int                 // that have failures counted now
	Forgotten uint64              // sources whose failures had to be forgotten for want of room
	TimedOut  uint64              // lines on which a regex took too long
	Found     uint64              // bans
	LastMatch time.Time           // when the line was read; zero: none
}

// Status tells of all configured jails, by name; disabled ones are among them.
func (j *Jails) Status() []JailStatus {
	files := j.follower.Status()
	now := j.now()
	var all []JailStatus
	for _, jail := range *j.current.Load() {
		all = append(all, jail.status(files, now))
	}
	return all
}

func (j *jail) status(files []source.FileStatus, now time.Time) JailStatus {
	s := JailStatus{
		Name:      j.config.Name,
		Enabled:   j.config.Enabled,
		Filter:    j.config.Filter.String(),
		Lines:     j.lines.Load(),
		Matched:   j.matched.Load(),
		Ignored:   j.ignored.Load(),
		Allowed:   j.allowed.Load(),
		Untrusted: j.untrusted.Load(),
		Names:     j.names.Load(),
		Stale:     j.stale.Load(),
		TimedOut:  j.timedOut.Load(),
		Found:     j.found.Load(),
	}
	s.Sources, s.Forgotten = j.counter.tally(now)
	if last := j.lastMatch.Load(); last > 0 {
		s.LastMatch = time.Unix(0, last)
	}
	if !j.config.Enabled {
		return s
	}
	for _, file := range files {
		if j.follows(file.Patterns) {
			s.Files = append(s.Files, file)
		}
	}
	return s
}
