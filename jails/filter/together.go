package filter

import (
	"strings"
	"sync"
	"time"

	"xdpban/jails/filter/dfa"
)

// Together is readers of one file that look at a line together first: one automaton of all
// their rules says which of them need not look themselves. It is not for concurrent use.
type Together struct {
	readers []*Reader
	joined  []bool // by reader: the automaton knows all about it
	machine *dfa.Machine
	owner   []int   // by number in the automaton: the reader
	eyes    *Reader // finds dates for all who joined; nil: fewer than two did
}

// Join puts readers together. Those with dates of their own, or regexes that no automaton can
// say anything about, look at each line themselves.
func Join(readers []*Reader) *Together { return new(Joints).Join(readers) }

// Joints are what readers of several files share where the same filters are put together. The zero value is
// ready; several goroutines may use it.
type Joints struct {
	mu   sync.Mutex
	sets map[string]*dfa.Set // by the regexes; nil: too large together
}

// fewSets is how many of them are kept: more combinations of jails have few hosts.
const fewSets = 64

// set is the automaton of exprs.
func (j *Joints) set(exprs []string) *dfa.Set {
	j.mu.Lock()
	defer j.mu.Unlock()
	key := strings.Join(exprs, "\x00")
	if set, known := j.sets[key]; known {
		return set
	}
	set, err := dfa.Compile(exprs)
	if err != nil {
		set = nil
	}
	if j.sets == nil || len(j.sets) == fewSets {
		j.sets = make(map[string]*dfa.Set)
	}
	j.sets[key] = set
	return set
}

// Join puts readers together, as the function does.
func (j *Joints) Join(readers []*Reader) *Together {
	t := &Together{readers: readers, joined: make([]bool, len(readers))}
	var exprs []string
	for i, r := range readers {
		own, ok := r.gate()
		if !ok {
			continue
		}
		t.joined[i], t.eyes = true, r
		for _, expr := range own {
			exprs, t.owner = append(exprs, expr), append(t.owner, i)
		}
	}
	if len(t.owner) == 0 || t.owner[0] == t.owner[len(t.owner)-1] {
		clear(t.joined) // one reader alone
		return t
	}
	set := j.set(exprs)
	if set == nil {
		clear(t.joined) // too large together
		return t
	}
	t.eyes = t.eyes.filter.NewReader(t.eyes.loc)
	t.machine = set.NewMachine(dfa.Options{})
	return t
}

// gate is regexes of which one matches whatever a rule of r does, behind a date found by hand.
func (r *Reader) gate() (exprs []string, ok bool) {
	rules, a := r.rules.rules, r.rules.automaton
	if len(r.filter.pre) > 0 {
		rules, a = r.pre.rules, r.pre.automaton
	}
	if r.memory != nil || r.dates == nil || r.dates.order != nil || len(a.blind) > 0 {
		return nil, false
	}
	for _, i := range a.rules {
		exprs = append(exprs, rules[i].expr)
	}
	return exprs, true
}

// Read has the readers look at line that may see something in it, and calls yield with what they
// see, in order. For all others the line is Missed.
func (t *Together) Read(line []byte, now time.Time, yield func(reader int, result Result)) {
	first := 0
	if t.machine != nil {
		first = len(t.readers)
		if rule := t.machine.Match(t.eyes.cut(line, t.eyes.locate(line, now))); rule >= 0 {
			first = t.owner[rule]
		}
	}
	for i, r := range t.readers {
		if i >= first || !t.joined[i] {
			yield(i, r.Read(line, now))
		}
	}
}
