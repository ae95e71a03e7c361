package filter

import (
	"bytes"
	"runtime"
	"slices"
	"time"
)

// A Speed is how fast a rule is on lines of a log, tried alone.
type Speed struct {
	Lines int
	Bytes int64         // of these lines, the dates apart
	Took  time.Duration // of the CPU: others who want it change nothing
}

// PerLine is how long a line takes; 0: nothing was measured.
func (s Speed) PerLine() time.Duration {
	if s.Lines == 0 {
		return 0
	}
	return s.Took / time.Duration(s.Lines)
}

// PerSecond is how many bytes a second takes; 0: nothing was measured.
func (s Speed) PerSecond() float64 {
	if s.Took <= 0 {
		return 0
	}
	return float64(s.Bytes) / s.Took.Seconds()
}

// Speeds measures the rules of r's filter in the given order on lines as they see them, until limit is spent; what
// is left has no Speed. The first two are measured in any case. It is no measure of all rules together, most
// of which are not tried on most lines. r forgets what it has read.
func (r *Reader) Speeds(lines [][]byte, now time.Time, limit time.Duration, order []int) []Speed {
	speeds := make([]Speed, len(r.filter.rules))
	r.renew()
	var rests [][]byte
	for _, line := range lines {
		if rest := r.see(line, now); rest != nil {
			rests = append(rests, bytes.Clone(rest))
		}
	}
	if len(rests) == 0 {
		return speeds
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	began := threadTime()
	for n, i := range order {
		left := limit - (threadTime() - began)
		if n >= measured && left <= 0 {
			break
		}
		speeds[i] = speed(r.alone(i), rests, max(left/time.Duration(len(order)-n), 1))
	}
	return speeds
}

// What makes a measure worth something: what is made at the first lines is there already, and
// few lines are tried again and again.
const (
	rounds = 64 // lines between two looks at the clock
	least  = 50 * time.Microsecond

	measured = 2 // rules, whatever the limit
)

// speed measures match on rests, of which there are some. The thread is locked.
func speed(match func(text []byte) bool, rests [][]byte, limit time.Duration) (s Speed) {
	for _, rest := range rests[:min(rounds, len(rests))] {
		match(rest)
	}
	began := threadTime()
	for at := 0; s.Took < limit && (at < len(rests) || s.Took < least); at += rounds {
		for i := range min(rounds, len(rests)) {
			rest := rests[(at+i)%len(rests)]
			match(rest)
			s.Lines++
			s.Bytes += int64(len(rest))
		}
		s.Took = threadTime() - began
	}
	return s
}

// alone reports whether rule i matches a text, with the engines that it has among others.
func (r *Reader) alone(i int) func(text []byte) bool {
	s, rule := &r.rules, &r.filter.rules[i]
	number, known := slices.BinarySearch(s.automaton.rules, i)
	if !known {
		return rule.match
	}
	machine := s.own()
	if rule.engine() == Linear {
		return func(text []byte) bool { return machine.Matches(number, text) }
	}
	return func(text []byte) bool {
		if !machine.MatchOne(number, text) {
			return false
		}
		found := capture{rule, text, nil, machine, rule.guards}
		if found.isExact() {
			return true
		}
		if matches, known := s.decides(i, text); known {
			return matches
		}
		at, _ := rule.findSeen(text, &budget{})
		return at != nil
	}
}

// see is what rules see of line, valid until the next call; nil: prefregex shows them nothing.
func (r *Reader) see(line []byte, now time.Time) []byte {
	r.Read(line, now)
	text := r.cut(line, r.date)
	if r.memory != nil {
		text = append(bytes.Clone(r.memory.view), '\n')
	}
	inner, _ := r.content(text)
	return inner
}

// Date is what line says of its time; false: it says nothing, or no day or hour that there is.
func (r *Reader) Date(line []byte, now time.Time) (time.Time, bool) {
	return r.locate(line, now).read(line, r.loc, now)
}
