package filter

import (
	"errors"
	"sync"

	"xdpban/jails/filter/dfa"
)

// An automaton is what rules have in common that automata can do: for a rule of the other
// engine that is a regex which matches at least where the rule does. It may be used by many readers.
type automaton struct {
	set   *dfa.Set
	rules []int // by number in set
	blind []int // rules of which it knows nothing; ascending

	sharing sync.Mutex
	shared  *dfa.Machine // of readers that have not read much yet; nil: none
}

// automatonOf returns a function that makes the automaton of rules when it is first called.
func automatonOf(rules []rule) func() *automaton {
	return sync.OnceValue(func() *automaton { return newAutomaton(rules) })
}

func newAutomaton(rules []rule) *automaton {
	a := &automaton{}
	small := make([]bool, len(rules))
	for i := range rules {
		small[i] = rules[i].expr != ""
	}
	for {
		var exprs []dfa.Parsed
		a.rules, a.blind = nil, nil
		for i := range rules {
			if small[i] {
				exprs, a.rules = append(exprs, dfa.Parsed{Expr: rules[i].expr, Tree: rules[i].tree.parsed}), append(a.rules, i)
			} else {
				a.blind = append(a.blind, i)
			}
		}
		set, err := dfa.CompileParsed(exprs)
		var bad *dfa.Error
		if !errors.As(err, &bad) {
			a.set = set
			for _, i := range a.rules {
				rules[i].tree.parsed = nil
			}
			return a
		}
		small[a.rules[bad.Expr]] = false
	}
}

// matchFrom looks at text, without the first n regexes, with the machine that readers share.
func (a *automaton) matchFrom(n int, text []byte) (number int, at []int) {
	a.sharing.Lock()
	defer a.sharing.Unlock()
	if a.shared == nil {
		a.shared = a.set.NewMachine(dfa.Options{})
	}
	if number = a.shared.MatchFrom(n, text); number >= 0 {
		at = a.shared.Groups(nil, text)
	}
	return number, at
}

// machine is for one reader alone: the shared one, which others have to do without from now on.
func (a *automaton) machine() *dfa.Machine {
	a.sharing.Lock()
	defer a.sharing.Unlock()
	m := a.shared
	if a.shared = nil; m == nil {
		m = a.set.NewMachine(dfa.Options{})
	}
	return m
}

// A scan runs rules on the texts of one reader, in order.
type scan struct {
	rules     []rule
	automaton *automaton
	late      int          // what stands for one of the rules in Reader.late; -1: its index
	many      bool         // more than one group of a match is asked for
	machine   *dfa.Machine // nil: the shared one
	texts     int          // that the shared one has looked at, some more than once
	deciders  []opinion    // by rule; nil: none was asked
	found     capture
}

// few is how many texts a reader looks at before it has a machine of its own. Most lines of
// samples and small logs never need states that no other reader has built.
const few = 64

func newScan(rules []rule, a *automaton, late int, many bool) scan {
	return scan{rules: rules, automaton: a, late: late, many: many}
}

// matchFrom is the number in the automaton of the first rule that it knows and that matches, the first n apart, and
// where its groups are; nil if s.machine knows.
func (s *scan) matchFrom(n int, text []byte) (number int, at []int) {
	if s.machine == nil && s.texts < few {
		s.texts++
		return s.automaton.matchFrom(n, text)
	}
	return s.own().MatchFrom(n, text), nil
}

// own is the machine that s has for itself from now on.
func (s *scan) own() *dfa.Machine {
	if s.machine == nil {
		s.machine = s.automaton.machine()
	}
	return s.machine
}

// first is the first rule that matches text with a capture that accept takes, which is valid until
// the next call; -1: there is none.
func (s *scan) first(text []byte, r *Reader, accept func(*capture) bool) int {
	tried := 0
	number, at := s.matchFrom(0, text)
	for number >= 0 {
		i := s.automaton.rules[number]
		if blind := s.firstBlind(tried, i, text, r, accept); blind >= 0 {
			return blind
		}
		if s.takesSeen(i, at, text, r, accept) {
			return i
		}
		tried = i + 1
		number, at = s.matchFrom(number+1, text)
	}
	return s.firstBlind(tried, len(s.rules), text, r, accept)
}

// firstBlind is first of the rules from..to-1 of which the automaton knows nothing.
func (s *scan) firstBlind(from, to int, text []byte, r *Reader, accept func(*capture) bool) int {
	for _, i := range s.automaton.blind {
		if i < from || i >= to {
			continue
		}
		at, err := s.rules[i].find(text, &r.budget)
		if s.takes(i, at, err, text, r, accept) {
			return i
		}
	}
	return -1
}

// takesSeen reports whether accept takes what rule i finds, which the automaton has just seen match.
func (s *scan) takesSeen(i int, at []int, text []byte, r *Reader, accept func(*capture) bool) bool {
	rule := &s.rules[i]
	if at == nil && s.many {
		s.machine.Trace(text)
	}
	if s.found = (capture{rule, text, at, s.machine, rule.guards}); s.found.isExact() {
		return accept(&s.found)
	}
	if matches, known := s.decides(i, text); known {
		return matches && accept(&s.found)
	}
	at, err := rule.findSeen(text, &r.budget)
	return s.takes(i, at, err, text, r, accept)
}

// An opinion is a reader's machine for one rule alone, whose automaton knows more of it.
type opinion struct {
	asked   int
	guards  *guarded
	machine *dfa.Machine // nil: not made yet, or there is no such automaton
}

// fewAsked is how many texts the backtracking engine is asked about before an automaton for one rule is made: that takes as long.
const fewAsked = 256

// decides reports whether rule i matches text, with what it finds in s.found, as far as its own automaton knows that.
func (s *scan) decides(i int, text []byte) (matches, known bool) {
	if s.deciders == nil {
		s.deciders = make([]opinion, len(s.rules))
	}
	o := &s.deciders[i]
	if o.asked++; o.asked == fewAsked {
		if d := s.rules[i].decide(); d != nil {
			o.guards, o.machine = d.guards, d.set.NewMachine(dfa.Options{})
		}
	}
	switch {
	case o.machine == nil:
		return false, false
	case !o.machine.MatchOne(0, text):
		return false, true
	case o.machine.Lost():
		return false, false
	}
	if s.many {
		o.machine.Trace(text)
	}
	s.found = capture{rule: &s.rules[i], text: text, machine: o.machine, guards: o.guards}
	holds := o.guards.hold(&s.found)
	return holds, holds
}

// takes reports whether accept takes what rule i found by itself.
func (s *scan) takes(i int, at []int, err error, text []byte, r *Reader, accept func(*capture) bool) bool {
	if err != nil {
		late := s.late
		if late < 0 {
			late = i
		}
		r.late = append(r.late, late)
	}
	s.found = capture{rule: &s.rules[i], text: text, at: at}
	return at != nil && accept(&s.found)
}

// unfound is what no rule found. Nobody changes it.
var unfound capture

// A capture is what a rule found in a text.
type capture struct {
	rule    *rule
	text    []byte       // valid until the next line is read
	at      []int        // as runner.find gives it; nil: machine knows
	machine *dfa.Machine // as it is until it is given another text
	guards  *guarded     // whose groups at or machine know; nil: the rule's own
}

// isExact reports whether c, of the automaton, is what the rule's own engine would find.
func (c *capture) isExact() bool {
	if c.rule.engine() == Linear {
		return true
	}
	return c.guards != nil && c.guards.hold(c)
}

// group is where a group stands, by number; -1, -1 if it took no part. 0 is the whole match.
func (c *capture) group(i int) (from, to int) {
	if c.guards == nil {
		return c.raw(i)
	}
	for _, i := range c.guards.index[i] {
		if from, to = c.raw(i); from >= 0 {
			return from, to
		}
	}
	return -1, -1
}

// raw is group by the number in the regex that was run.
func (c *capture) raw(i int) (from, to int) {
	if c.at == nil {
		return c.machine.Group(c.text, i)
	}
	return c.at[2*i], c.at[2*i+1]
}

// place is where the group called name stands. false: it took no part.
func (c *capture) place(name string) (from, to int, ok bool) {
	if c.rule == nil {
		return 0, 0, false
	}
	return c.first(c.rule.named.index(name))
}

// first is place by the index in rule.named; false for -1 too.
func (c *capture) first(named int) (from, to int, ok bool) {
	if named < 0 {
		return 0, 0, false
	}
	for _, number := range c.rule.named.all[named].at {
		if from, to = c.group(number); from >= 0 {
			return from, to, true
		}
	}
	return 0, 0, false
}

// identifies reports whether a group that says who it was took part.
func (c *capture) identifies() bool {
	if c.rule == nil {
		return false
	}
	for _, i := range c.rule.named.identity {
		if _, _, ok := c.first(i); ok {
			return true
		}
	}
	return false
}
