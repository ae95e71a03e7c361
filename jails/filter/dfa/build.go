package dfa

import (
	"regexp/syntax"
	"slices"
)

// Options are the limits of a Machine.
type Options struct {
	Bytes int // of memory for states, about; 0: DefaultBytes
}

// DefaultBytes is enough for the states that real logs lead to, many times over.
const DefaultBytes = 2 << 20

// A Machine looks at lines with a Set. It is not for concurrent use.
type Machine struct {
	set    *Set
	limit  int
	stride uint32

	// The states: threads of all, one list behind the other, and the table with a row for each.
	states  []state
	threads []uint32
	table   []uint32
	byHash  map[uint64]uint32 // the last state of each hash; others by state.chain
	skips   []skip
	begins  []beginning
	begun   []uint64 // of the beginning of the line that was looked at last
	clears  int      // how often all states were forgotten

	// Where threads come from, by entry of the table; as far as matches have asked.
	cameBy    []uint32 // index in origins; 0: not asked yet
	origins   []origin
	crossings []crossing

	now, next list // of the step that is being made
	stack     []branch

	// The line that was looked at last.
	memories [maxMemories]memory
	trail    []uint32 // place in the table of the step by each character; 0 inside a character; jumped
	lost     int      // where the trail begins; before, the states are gone
	found    finding
	ends     [2 * maxGroups]int // of groups, as far as known says
	known    uint64             // slots
}

// A beginning is the state at the start of a line of which some regexes alone are asked.
type beginning struct {
	from, to int      // the regexes
	entry    uint32   // for the state
	begun    []uint64 // what each of its threads has crossed
}

// A state is a list of threads. Where one of them has to look at the next character before it
// takes it, all are kept as they come from the last character, and that character's kind if
// one asks for it.
type state struct {
	from, to uint32 // in Machine.threads
	chain    uint32 // another state of the same hash; 0: none
	skip     uint32 // index in Machine.skips; 0: not looked for yet, or there is none
	loops    uint8  // classes seen that keep it
	looks    bool
	before   kind
}

// An entry of the table is the row of a state, or 0 for none, and flags.
const (
	matched = 1 << 31 // before the character, a thread of the state that is left has matched
	skipped = 1 << 30 // the state has a skip
	dead    = 1 << 29 // no thread is left
	unknown = 1 << 28 // not built yet
	encoded = 1 << 27 // the character has to be decoded first

	rowOnly = 1<<27 - 1
)

// jumped is a flag in the trail: of so many characters that were skipped this is the last. The first has the row of
// all of them, the others have nothing.
const jumped = 1 << 31

// maxTable keeps rows clear of the flags, whatever the limit.
const maxTable = 1 << 26

// NewMachine makes a machine for the lines of one reader.
func (s *Set) NewMachine(o Options) *Machine {
	m := &Machine{set: s, limit: DefaultBytes, stride: uint32(len(s.alphabet.kinds)), byHash: make(map[uint64]uint32)}
	if o.Bytes > 0 {
		m.limit = o.Bytes
		m.table = make([]uint32, 0, o.Bytes/8) // as much as it will take: it is not copied then
	}
	m.now.seen = make([]uint32, len(s.insts))
	m.next.seen = make([]uint32, len(s.insts))
	m.clear()
	return m
}

// clear forgets all states. State 0 is none, so that no row and no index is 0.
func (m *Machine) clear() {
	m.clears++
	m.states = append(m.states[:0], state{})
	m.threads = m.threads[:0]
	m.table = append(m.table[:0], make([]uint32, m.stride)...)
	clear(m.byHash)
	clear(m.memories[:])
	m.skips = append(m.skips[:0], skip{})
	m.begins = m.begins[:0]
	m.cameBy = m.cameBy[:0]
	m.origins = append(m.origins[:0], origin{})
	m.crossings = append(m.crossings[:0], crossing{})
}

// Size is about how many bytes the states take.
func (m *Machine) Size() int {
	return 4*(len(m.table)+len(m.cameBy)+len(m.threads)) + 40*len(m.states) + 8*len(m.origins)
}

// A list is threads in order, the one that wins first.
type list struct {
	threads []uint32 // instructions that wait for a character, for what an opLook can see, or that match
	came    []path
	looks   bool
	asks    bool     // for the kind of the character before, if it looks
	roots   []uint32 // instructions, each of which brought at least one thread
	paths   []path   // of the roots
	seen    []uint32 // by instruction: the round in which it was last met
	round   uint32
}

// A path is the way to a thread by one step: from which thread of the state before, and which
// ends of groups it crosses.
type path struct {
	thread uint32
	crossing
}

// A crossing is ends of groups, as bits 1<<slot, before the character of a step and behind it.
type crossing struct{ before, after uint64 }

func (l *list) clear() {
	l.threads, l.came, l.looks, l.asks = l.threads[:0], l.came[:0], false, false
	l.roots, l.paths = l.roots[:0], l.paths[:0]
	if l.round++; l.round == 0 {
		clear(l.seen)
		l.round = 1
	}
}

// A branch is a way that was put off: an instruction, and the groups crossed up to it.
type branch struct {
	inst  uint32
	saves uint64
}

// A view is what is known about a place between two characters.
type view struct {
	holds syntax.EmptyOp
	fails syntax.EmptyOp
}

// all are the conditions of an opLook; of them behind is known from the character before, and backward are those that ask for it.
const (
	behind   = syntax.EmptyBeginLine | syntax.EmptyBeginText
	backward = behind | syntax.EmptyWordBoundary | syntax.EmptyNoWordBoundary
	all      = behind | syntax.EmptyEndLine | syntax.EmptyEndText | syntax.EmptyWordBoundary | syntax.EmptyNoWordBoundary
)

// between is the view between two characters.
func between(before, after kind) view {
	holds := syntax.EmptyOpContext(runeOfKind[before], runeOfKind[after])
	return view{holds: holds, fails: all &^ holds}
}

// after is the view behind a character while the next is not known.
func after(before kind) view {
	holds := syntax.EmptyOpContext(runeOfKind[before], runeOfKind[other]) & behind
	return view{holds: holds, fails: behind &^ holds}
}

// follow adds to l the threads that inst leads to without a character, in the order in which Go
// tries them; behind says on which side of a step the groups on the way are crossed.
func (m *Machine) follow(l *list, inst uint32, v view, came path, behind bool) {
	n := len(l.threads)
	m.stack = append(m.stack[:0], branch{inst: inst})
	for len(m.stack) > 0 {
		way := m.stack[len(m.stack)-1]
		m.stack = m.stack[:len(m.stack)-1]
		m.walk(l, way, v, came, behind)
	}
	if len(l.threads) > n {
		l.roots, l.paths = append(l.roots, inst), append(l.paths, came)
	}
}

// walk follows one way to its thread and puts off what branches from it.
func (m *Machine) walk(l *list, way branch, v view, came path, behind bool) {
	for l.seen[way.inst] != l.round {
		l.seen[way.inst] = l.round
		in := &m.set.insts[way.inst]
		switch in.op {
		case opFail:
			return
		case opAlt:
			m.stack = append(m.stack, branch{in.arg, way.saves})
		case opSave:
			way.saves |= 1 << in.arg
		case opLook:
			wants := in.look()
			if wants&v.fails != 0 {
				return
			}
			l.asks = l.asks || in.arg&asksBehind != 0
			if wants&^v.holds != 0 {
				l.looks = true
				l.add(way, came, behind)
				return
			}
		case opRune, opMatch:
			l.add(way, came, behind)
			return
		}
		way.inst = in.out
	}
}

func (l *list) add(way branch, came path, behind bool) {
	if behind {
		came.after |= way.saves
	} else {
		came.before |= way.saves
	}
	l.threads = append(l.threads, way.inst)
	l.came = append(l.came, came)
}

// postpone takes a list with looks back to its roots: which way wins, and what it crosses, is
// seen when the next character is known, and with all of the way, as loops end where they meet themselves.
func (l *list) postpone() {
	if l.looks {
		l.threads, l.roots = l.roots, l.threads
		l.came, l.paths = l.paths, l.came
	}
}

// start is the entry for the state at the start of a line for the regexes from..to-1.
func (m *Machine) start(from, to int) (entry uint32) {
	if m.Size() > m.limit-m.limit/8 { // a line on whose way states are cleared is a slow one
		m.clear()
	}
	for i := range m.begins {
		if b := &m.begins[i]; b.from == from && b.to == to {
			m.begun = b.begun
			return b.entry
		}
	}
	b := beginning{from: from, to: to, entry: dead}
	m.next.clear()
	for _, inst := range m.set.starts[from:to] {
		m.follow(&m.next, inst, after(edge), path{}, true)
	}
	m.next.postpone()
	for _, came := range m.next.came {
		b.begun = append(b.begun, came.after)
	}
	if len(m.next.threads) > 0 {
		b.entry = m.intern(edge)
	}
	m.begins, m.begun = append(m.begins, b), b.begun
	return b.entry
}

// step makes m.next what the state in row becomes by a character of a column. It
// returns which thread of m.now has matched before that; -1: none.
func (m *Machine) step(row, column uint32) (winner int) {
	s := &m.states[m.table[row+columnState]]
	kinds := m.set.alphabet.kinds
	m.settle(s, between(s.before, kinds[column]))
	m.next.clear()
	defer m.next.postpone()
	behind := after(kinds[column])
	for i, inst := range m.now.threads {
		in := &m.set.insts[inst]
		if in.op == opMatch {
			return i
		}
		if m.set.accepts[in.arg][column] {
			m.follow(&m.next, in.out, behind, m.now.came[i], true)
		}
	}
	return -1
}

// settle makes m.now the threads of s when the next character is known.
func (m *Machine) settle(s *state, v view) {
	m.now.clear()
	for i, inst := range m.threads[s.from:s.to] {
		came := path{thread: uint32(i)}
		if s.looks {
			m.follow(&m.now, inst, v, came, false)
		} else {
			m.now.add(branch{inst: inst}, came, false)
		}
	}
}

// build makes the entry of the table for a character of a column in the state of row. Where
// the states are too many it clears them first, which moves the state: row is where it is then.
func (m *Machine) build(row, column uint32, at int) (moved, entry uint32) {
	if m.full() {
		row = m.flush(row, at)
	}
	if m.step(row, column) >= 0 {
		entry = matched
	}
	if len(m.next.threads) == 0 {
		entry |= dead
	} else {
		entry |= m.intern(m.set.alphabet.kinds[column])
	}
	if entry == row {
		entry |= m.looped(row)
	}
	m.table[row+column] = entry
	return row, entry
}

// full reports whether the states have reached the limit. One step has to be possible, so
// two states always have room.
func (m *Machine) full() bool {
	return len(m.states) > 3 && (m.Size() > m.limit || len(m.table) > maxTable)
}

// flush forgets all states but that of row, which gets another row. What the trail says of the
// line before at is lost.
func (m *Machine) flush(row uint32, at int) (moved uint32) {
	m.found.resolve(m)
	m.found.place = 0
	s := m.states[m.table[row+columnState]]
	m.next.clear()
	m.next.threads = append(m.next.threads, m.threads[s.from:s.to]...)
	m.next.looks, m.next.asks = s.looks, true
	m.clear()
	m.lost = at
	return m.intern(s.before) & rowOnly
}

// kindBehind is what the state of m.next has to know of the character before, which is of a kind.
func (m *Machine) kindBehind(before kind) kind {
	if m.next.looks && m.next.asks {
		return before
	}
	return other
}

// intern is the entry for the state of m.next, which is made if there is none.
func (m *Machine) intern(before kind) (entry uint32) {
	before = m.kindBehind(before)
	hash := uint64(before) + 1
	for _, inst := range m.next.threads {
		hash = (hash ^ uint64(inst)) * 0x9e3779b97f4a7c15
		hash ^= hash >> 29
	}
	for i := m.byHash[hash]; i != 0; i = m.states[i].chain {
		s := &m.states[i]
		if s.before == before && slices.Equal(m.threads[s.from:s.to], m.next.threads) {
			return m.entryOf(i)
		}
	}
	number := uint32(len(m.states))
	from := uint32(len(m.threads))
	m.threads = append(room(m.threads, len(m.next.threads)), m.next.threads...)
	m.states = append(room(m.states, 1), state{
		from: from, to: uint32(len(m.threads)), chain: m.byHash[hash], looks: m.next.looks, before: before,
	})
	m.byHash[hash] = number
	m.addRow(number)
	return m.entryOf(number)
}

// room is list with room for n more, and else for as many as it has: append alone would copy long lists more often.
func room[T any](list []T, n int) []T {
	if cap(list)-len(list) >= n {
		return list
	}
	return slices.Grow(list, max(n, len(list)))
}

func (m *Machine) addRow(number uint32) {
	row := len(m.table)
	if row+int(m.stride) > cap(m.table) {
		m.table = slices.Grow(m.table, row+int(m.stride)) // twice as much: it is copied less often than append would
	}
	m.table = m.table[:row+int(m.stride)]
	added := m.table[row:]
	for column := range added {
		added[column] = unknown
	}
	added[columnWide] = encoded
	added[columnState] = number
}

// rowOf is the row of a place in the table.
func (m *Machine) rowOf(place uint32) uint32 { return place - place%m.stride }

func (m *Machine) entryOf(number uint32) uint32 {
	entry := number * m.stride
	if m.states[number].skip > 0 {
		entry |= skipped
	}
	return entry
}
