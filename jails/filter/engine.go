package filter

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"runtime"
	"sync"
	"time"

	"github.com/dlclark/regexp2/v2"
	"golang.org/x/sys/unix"
)

// An Engine is what runs a regex.
type Engine uint8

// The engines.
const (
	Linear       Engine = iota // an automaton: its time is linear in the line
	Backtracking               // for what no automaton can do: look-around, references, conditions
)

var engines = [...]string{"linear", "backtracking"}

// String is e in one word.
func (e Engine) String() string { return engines[e] }

// MarshalText is String for encoders.
func (e Engine) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

const (
	// matchLimit is how long the backtracking engine may try one regex on one line, and how
	// long all of them on one line together, in time of the CPU.
	matchLimit = 8 * time.Millisecond
	// clockPeriod is how often it looks at the clock.
	clockPeriod = 2 * time.Millisecond
	// tries is how often a match is begun again that the clock has ended while others had the CPU.
	tries = 4
)

func init() { regexp2.SetTimeoutCheckPeriod(clockPeriod) }

// errTimedOut is the error of a match that took too long: nobody knows whether the line matches.
var errTimedOut = errors.New("took too long")

// A runner is a regex that can be run.
type runner struct {
	expr   string                // Linear: the regex; Backtracking: what its matches match too, "" if that is anything
	tree   *tree                 // of expr; an automaton alone looks into it
	auto   func() *regexp.Regexp // of expr
	back   *regexp2.Regexp       // nil: Linear
	groups []string              // names, by index; one name may stand for several groups
	guards *guarded              // Backtracking: what expr is guarded by; nil: it is not
	decide func() *decider       // Backtracking: what decides lines in which guards do not hold; nil of it: nothing does
	needs  needs                 // of expr
}

func (m *runner) engine() Engine {
	if m.back != nil {
		return Backtracking
	}
	return Linear
}

// linear makes the runner of a regex in Go's dialect. What few lines need is made for the first of them.
func linear(expr string, groups []string) (runner, error) {
	parsed, err := syntaxTree(expr)
	if err != nil {
		return runner{}, err
	}
	return linearTree(expr, parsed, groups), nil
}

// A tree is a parsed regex on its way to the automaton. It is large, and nil once it is there.
type tree struct{ parsed *syntax.Regexp }

func linearTree(expr string, parsed *syntax.Regexp, groups []string) runner {
	return runner{
		expr:   expr,
		tree:   &tree{parsed},
		auto:   sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) }),
		groups: groups,
		needs:  needsOf(parsed),
	}
}

// runner makes p ready for the engine that it needs.
func (p *pattern) runner() (runner, error) {
	if !p.backtracks {
		m, err := linear(p.write(Linear), p.groups)
		if err == nil {
			return m, nil // else it repeats more often than automata take
		}
	}
	back, err := regexp2.Compile(p.write(Backtracking))
	if err != nil {
		return runner{}, fmt.Errorf("cannot be run: %w", err)
	}
	back.MatchTimeout = matchLimit
	m, guards := runner{}, p.guarded()
	if guards != nil {
		m = linearTree(guards.expr, guards.tree, p.groups)
		guards.tree = nil
	} else if m, err = linear(p.wider(), p.groups); err != nil {
		m = runner{groups: p.groups}
	}
	m.guards, m.back, m.decide = guards, back, sync.OnceValue(p.decider)
	return m, nil
}

// A budget is the time that went into backtracking on one line.
type budget struct{ spent time.Duration }

// mayMatch reports whether text holds what m's matches hold. Few other lines do, so that
// long hostile ones cost little more than reading them.
func (m *runner) mayMatch(text []byte) bool { return m.expr == "" || m.needs.in(text) }

// match reports whether m matches text; a regex that takes too long does not.
func (m *runner) match(text []byte) bool {
	matches, _ := m.matches(text, &budget{})
	return matches
}

// matches is match within a budget. The error is errTimedOut.
func (m *runner) matches(text []byte, b *budget) (bool, error) {
	if m.back == nil {
		return m.mayMatch(text) && m.auto().Match(text), nil
	}
	found, err := m.find(text, b)
	return found != nil, err
}

// find is where the groups of m stand in text, by pairs of byte offsets, -1 for those that
// take no part; nil: m does not match. The error is errTimedOut.
func (m *runner) find(text []byte, b *budget) ([]int, error) {
	if !m.mayMatch(text) || m.back != nil && m.expr != "" && !m.auto().Match(text) {
		return nil, nil
	}
	return m.findSeen(text, b)
}

// findSeen is find in a text that expr, as an automaton has seen, matches.
func (m *runner) findSeen(text []byte, b *budget) ([]int, error) {
	if m.back == nil {
		return m.auto().FindSubmatchIndex(text), nil
	}
	found, err := m.backtrack(string(text), b)
	return places(found, len(m.groups)), err
}

// backtrack is find with the engine that may take too long. Its clock goes on while others have
// the CPU: a match that it ends early is begun again.
func (m *runner) backtrack(text string, b *budget) (*regexp2.Match, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for range tries {
		if b.spent >= matchLimit {
			break
		}
		began := threadTime()
		found, err := m.back.FindStringMatch(text)
		took := threadTime() - began
		b.spent += took
		if err == nil {
			return found, nil
		}
		if took > matchLimit/2 || errors.Is(err, regexp2.ErrBacktrackingStackLimit) {
			break
		}
	}
	return nil, errTimedOut
}

// threadTime is for how long the calling thread has had a CPU.
func threadTime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		return 0 // not on Linux
	}
	return time.Duration(now.Nano())
}

// places are the groups of a match as package regexp gives them.
func places(found *regexp2.Match, groups int) []int {
	if found == nil {
		return nil
	}
	at := make([]int, 2*groups)
	for i := range groups {
		at[2*i], at[2*i+1] = -1, -1
		if group := found.GroupByNumber(i); group != nil && len(group.Captures) > 0 {
			from, length := group.ByteRange()
			at[2*i], at[2*i+1] = from, from+length
		}
	}
	return at
}
