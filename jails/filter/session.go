package filter

import (
	"bytes"
	"container/list"
	"hash/maphash"
	"time"
)

// What sessions keep at most: so many, of so many bytes together, each for so long. The oldest
// is forgotten first. An attacker opens as many connections as he likes.
const (
	mostSessions     = 1000
	mostSessionBytes = 1 << 20
	sessionLasts     = 5 * time.Minute
	mostUsers        = 64   // of one session
	mostKept         = 2048 // bytes of a session that is over, for the next one
)

// sessions are the sessions of which <F-MLFID> has found lines: some say what happened, others
// who it was. The zero value is ready.
type sessions struct {
	index  map[uint64]*list.Element // by hash of the id
	order  list.List                // of *session: those that are over, then the oldest first
	oldest *list.Element            // that is not over; nil: all are
	bytes  int
	found  *failure // of a line; nil: not made yet
}

// A session is what its lines have said so far.
type session struct {
	id      []byte
	hash    uint64
	failure *failure
	until   time.Time
	size    int // 0: it is over
}

// sessionSeed keeps attackers from choosing sessions that share a hash.
var sessionSeed = maphash.MakeSeed()

// find is what is known of a session; nil: nothing.
func (s *sessions) find(id []byte, now time.Time) *list.Element {
	element := s.index[maphash.Bytes(sessionSeed, id)]
	if element == nil {
		return nil
	}
	known := element.Value.(*session)
	if !bytes.Equal(known.id, id) {
		return nil
	}
	if !known.until.After(now) {
		s.end(element)
		return nil
	}
	return element
}

// end forgets a session. Its place is for another.
func (s *sessions) end(element *list.Element) {
	over := element.Value.(*session)
	if over.size == 0 {
		return
	}
	delete(s.index, over.hash)
	s.bytes -= over.size
	if over.size > mostKept {
		over.id, over.failure = nil, nil
	}
	over.size = 0
	if s.oldest == element {
		s.oldest = element.Next()
	}
	s.order.MoveToFront(element)
}

// add begins a session of f, which is for it alone from now on, in the place of one that is over, or of the oldest if
// there are too many. Of two with one hash the older one is forgotten.
func (s *sessions) add(id []byte, f *failure, now time.Time) {
	if s.index == nil {
		s.index = make(map[uint64]*list.Element)
	}
	hash := maphash.Bytes(sessionSeed, id)
	if other := s.index[hash]; other != nil {
		s.end(other)
	}
	element := s.order.Front()
	if element == nil || element.Value.(*session).size > 0 && s.order.Len() < mostSessions {
		element = s.order.PushFront(&session{})
	}
	s.end(element)
	s.order.MoveToBack(element)
	if s.oldest == nil {
		s.oldest = element
	}
	added := element.Value.(*session)
	if f == s.found {
		s.found = added.failure
	}
	*added = session{id: append(added.id[:0], id...), hash: hash, failure: f, until: now.Add(sessionLasts)}
	s.index[hash] = element
	s.resize(added)
}

// fresh is a failure of which nothing is known, until the next call.
func (s *sessions) fresh() *failure {
	if s.found == nil {
		s.found = &failure{}
	}
	s.found.clear()
	return s.found
}

// resize counts a session that has grown and forgets the oldest where it is too much.
func (s *sessions) resize(grown *session) {
	size := len(grown.id) + grown.failure.size()
	s.bytes += size - grown.size
	grown.size = size
	for s.bytes > mostSessionBytes {
		s.end(s.oldest)
	}
}

// size is about how many bytes f takes.
func (f *failure) size() int {
	const each = 64
	return each*(1+len(f.texts.held)+len(f.users.held)) + cap(f.texts.bytes) + cap(f.users.bytes)
}

// merge adds a line of a session, in which so many lines of log were found, to what the
// session's other lines have said, and returns it all. A line with <F-NOFAIL> is no
// failure; one with <F-MLFGAINED> says that the client got in, which takes back what was pending; one with
// <F-MLFFORGET> ends the session.
func (s *sessions) merge(id []byte, found *failure, lines int, now time.Time) *failure {
	var line signals
	line.read(found)
	known := s.find(id, now)
	all := found
	switch {
	case known != nil:
		all = known.Value.(*session).failure
		s.join(known, found, &line)
	case !line.forget:
		all.addUser(found.texts.of("user"))
		s.add(id, all, now)
	}
	// Whoever fails as one user and gets in as another has failed all the same.
	if all.pending || len(all.users.held) > 1 && (known != nil || !line.forget) {
		all.texts.forget("nofail")
		all.texts.forget("mlfgained")
		line.quiet, line.gained = false, false
	}
	all.pending = false
	all.count(lines, line)
	return all
}

// signals are what a line says about its session.
type signals struct{ quiet, gained, forget, wasQuiet bool }

// read takes the signals out of what was found.
func (l *signals) read(found *failure) {
	l.gained = len(found.texts.of("mlfgained")) > 0
	if l.gained && len(found.texts.of("nofail")) == 0 {
		found.texts.set("nofail", found.texts.of("mlfgained"))
	}
	l.quiet = len(found.texts.of("nofail")) > 0
	l.forget = len(found.texts.of("mlfforget")) > 0
	found.texts.forget("mlfforget")
}

// join puts found over what is known of a session.
func (s *sessions) join(element *list.Element, found *failure, line *signals) {
	known := element.Value.(*session)
	all := known.failure
	all.addUser(found.texts.of("user"))
	line.wasQuiet = len(all.texts.of("nofail")) > 0 || len(all.texts.of("mlfgained")) > 0
	all.texts.forget("nofail")
	all.texts.forget("mlfgained")
	if line.gained {
		all.pending = false
	}
	if !line.wasQuiet && !all.pending {
		all.lines = 0 // these have been told already
	}
	for i, held := range found.texts.held {
		all.texts.set(held.name, found.texts.at(i))
	}
	if line.forget {
		s.end(element)
		return
	}
	s.resize(known)
}

// count counts the lines of log that make up f.
func (f *failure) count(lines int, line signals) {
	switch {
	case !line.quiet:
		f.lines += f.quiet + lines
		f.quiet = 0
	case !line.forget:
		f.quiet += lines
	}
}

func (f *failure) addUser(user []byte) {
	if len(user) > 0 && len(f.users.held) < mostUsers && !f.users.has(user) {
		f.users.add("", user)
	}
}
