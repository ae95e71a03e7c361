package dfa

import "math/bits"

// An origin is the short form of a path.
type origin struct {
	thread  uint32
	crosses uint32 // index in Machine.crossings; 0: no end of a group
}

// resolve finds out which rule it was, while the state is still there.
func (f *finding) resolve(m *Machine) {
	if f.place == 0 {
		return
	}
	f.rule = int(m.origins[m.cameFrom(f.place)-1].thread)
}

// Group is where a group begins and ends of the regex that Match has just found in line; -1, -1 if
// the group took no part. Group 0 is the whole match.
func (m *Machine) Group(line []byte, group int) (from, to int) {
	slot := 2 * group
	if m.known>>slot&3 == 3 {
		return m.ends[slot], m.ends[slot+1]
	}
	return m.find(line, slot)
}

// find is Group for a group of which not all is known.
func (m *Machine) find(line []byte, slot int) (from, to int) {
	if !m.trace(line, 3<<slot) {
		ends := m.slow(line)
		return ends[slot], ends[slot+1]
	}
	return m.ends[slot], m.ends[slot+1]
}

// Trace finds all groups of the regex that Match has just found in line. It is for who will ask for more than one:
// going back once is enough then.
func (m *Machine) Trace(line []byte) { m.trace(line, 1<<(2*m.set.rules[m.found.rule].groups)-1) }

// Groups appends to ends where all groups begin and end of the regex that Match has just found in line,
// as regexp.FindSubmatchIndex does.
func (m *Machine) Groups(ends []int, line []byte) []int {
	slots := 2 * m.set.rules[m.found.rule].groups
	if !m.trace(line, 1<<slots-1) {
		return append(ends, m.slow(line)...)
	}
	return append(ends, m.ends[:slots]...)
}

// Lost reports whether the states were thrown away while the line was read. Of a regex with places groups are
// not known then; that it matched is.
func (m *Machine) Lost() bool { return m.lost > 0 }

// slow asks package regexp. It is for lines during which the states were cleared.
func (m *Machine) slow(line []byte) []int {
	return m.set.rules[m.found.rule].slow().FindSubmatchIndex(line)
}

// trace goes back from the end of the match and notes in m.ends where the slots of asked were
// crossed last. It returns false where the trail is lost. Who asks twice will want to know all.
func (m *Machine) trace(line []byte, asked uint64) bool {
	if asked &^= m.known; asked == 0 {
		return true
	}
	if m.known != 0 {
		asked = (1<<(2*m.set.rules[m.found.rule].groups) - 1) &^ m.known
	}
	f := &m.found
	if f.place == 0 || f.end < m.lost {
		return false
	}
	for slots := asked; slots != 0; slots &= slots - 1 {
		m.ends[bits.TrailingZeros64(slots)] = -1
	}
	wanted := asked
	if !m.set.rules[f.rule].places {
		m.ends[1], wanted = f.end, asked&^2
	}
	came := m.origins[m.cameFrom(f.place)]
	wanted = m.cross(m.crossings[came.crosses].before, wanted, f.end)
	at, behind := f.end, 0
	for wanted != 0 && at > m.lost {
		at, behind, came = m.back(line, at, came.thread)
		crossed := &m.crossings[came.crosses]
		wanted = m.cross(crossed.after, wanted, behind)
		wanted = m.cross(crossed.before, wanted, at)
	}
	if wanted != 0 && m.lost > 0 {
		return false
	}
	if wanted != 0 {
		m.cross(m.begun[came.thread], wanted, 0)
	}
	m.known |= asked
	return true
}

// back goes back one character, and more of them until an end of a group is crossed. It returns where that
// character begins and ends and where the thread behind it came from.
func (m *Machine) back(line []byte, at int, thread uint32) (begins, ends int, came origin) {
	for ends, thread = m.stroll(at, thread); ends > m.lost; ends, thread = m.stroll(ends, thread) {
		last := m.trail[ends-1]
		if last&jumped == 0 {
			for begins = ends - 1; m.trail[begins] == 0; begins-- {
			}
			return begins, ends, m.origins[m.cameFrom(m.trail[begins])+1+thread]
		}
		begins = ends - int(last&^jumped)
		if row := m.trail[begins]; m.stays(row, thread) {
			ends = begins
		} else {
			m.land(line, begins, ends, row)
		}
	}
	return ends, ends, origin{thread: thread}
}

// stroll goes back as long as a step needs no more than a look at where threads come from.
func (m *Machine) stroll(at int, thread uint32) (int, uint32) {
	trail, cameBy, origins := m.trail[:at], m.cameBy, m.origins
	for ; at > m.lost; at-- {
		place := trail[at-1]
		if int(place) >= len(cameBy) {
			break
		}
		from := cameBy[place]
		if from == 0 {
			break
		}
		came := origins[from+1+thread]
		if came.crosses != 0 {
			break
		}
		thread = came.thread
	}
	return at, thread
}

// land writes into the trail what a jump has left out.
func (m *Machine) land(line []byte, begins, ends int, row uint32) {
	for at := begins; at < ends; at++ {
		m.trail[at] = row + uint32(m.set.alphabet.ofByte[line[at]])
	}
}

// cross notes that the slots of crossed lie at a place and returns what is still wanted.
func (m *Machine) cross(crossed, wanted uint64, at int) uint64 {
	for slots := crossed & wanted; slots != 0; slots &= slots - 1 {
		m.ends[bits.TrailingZeros64(slots)] = at
	}
	return wanted &^ crossed
}

// cameFrom is the index in m.origins of what the step at a place of the table brought about: first the thread that
// matched, then where each thread of the new state came from. Before that stands the rule that matched.
func (m *Machine) cameFrom(place uint32) uint32 {
	m.growCameBy()
	if from := m.cameBy[place]; from != 0 {
		return from
	}
	rule, won := origin{}, origin{}
	if winner := m.step(m.rowOf(place), place%m.stride); winner >= 0 {
		rule.thread = m.set.insts[m.now.threads[winner]].arg
		won = m.originOf(m.now.came[winner])
	}
	m.origins = append(room(m.origins, 2), rule, won)
	from := uint32(len(m.origins) - 1)
	m.origins = room(m.origins, len(m.next.came))
	for _, came := range m.next.came {
		m.origins = append(m.origins, m.originOf(came))
	}
	m.cameBy[place] = from
	return from
}

// growCameBy makes m.cameBy as long as the table. Fresh memory is zero, and where nobody looks it
// takes no room.
func (m *Machine) growCameBy() {
	n := len(m.cameBy)
	if n == len(m.table) {
		return
	}
	if cap(m.cameBy) >= len(m.table) {
		m.cameBy = m.cameBy[:len(m.table)]
		clear(m.cameBy[n:])
		return
	}
	grown := make([]uint32, len(m.table), cap(m.table))
	copy(grown, m.cameBy)
	m.cameBy = grown
}

// originOf is the short form of a path.
func (m *Machine) originOf(p path) origin {
	if p.crossing == (crossing{}) {
		return origin{thread: p.thread}
	}
	for i, known := range m.crossings {
		if known == p.crossing {
			return origin{p.thread, uint32(i)}
		}
	}
	m.crossings = append(m.crossings, p.crossing)
	return origin{p.thread, uint32(len(m.crossings) - 1)}
}
