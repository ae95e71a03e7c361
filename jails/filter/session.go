package filter

import (
	"container/list"
	"slices"
	"time"
)

// What sessions keep at most: so many, of so many bytes together, each for so long. The oldest
// is forgotten first. An attacker opens as many connections as he likes.
const (
	mostSessions     = 1000
	mostSessionBytes = 1 << 20
	sessionLasts     = 5 * time.Minute
	mostUsers        = 64 // of one session
)

// sessions are the sessions of which <F-MLFID> has found lines: some say what happened, others
// who it was. The zero value is ready.
type sessions struct {
	index map[string]*list.Element
	order list.List // of *session, the oldest first
	bytes int
	spare *failure // of a session that was forgotten; nil: none
}

// A session is what its lines have said so far.
type session struct {
	id      string
	failure *failure
	until   time.Time
	size    int
}

// find is what is known of a session; nil: nothing.
func (s *sessions) find(id string, now time.Time) *session {
	element := s.index[id]
	if element == nil {
		return nil
	}
	known := element.Value.(*session)
	if !known.until.After(now) {
		s.forget(id)
		return nil
	}
	return known
}

func (s *sessions) forget(id string) {
	element := s.index[id]
	if element == nil {
		return
	}
	s.order.Remove(element)
	delete(s.index, id)
	s.bytes -= element.Value.(*session).size
}

// add begins a session, in the place of the oldest if there are too many.
func (s *sessions) add(id string, f *failure, now time.Time) {
	if s.index == nil {
		s.index = make(map[string]*list.Element)
	}
	if s.order.Len() < mostSessions {
		s.order.PushBack(new(session))
	} else {
		oldest := s.order.Front()
		old := oldest.Value.(*session)
		delete(s.index, old.id)
		s.bytes -= old.size
		s.spare = old.failure
		s.order.MoveToBack(oldest)
	}
	element := s.order.Back()
	added := element.Value.(*session)
	*added = session{id: id, failure: f, until: now.Add(sessionLasts)}
	s.index[id] = element
	s.resize(added)
}

// fresh is a failure of which nothing is known.
func (s *sessions) fresh() *failure {
	f := s.spare
	if f == nil {
		return &failure{}
	}
	s.spare = nil
	clear(f.texts)
	*f = failure{texts: f.texts[:0]}
	return f
}

// resize counts a session that has grown and forgets the oldest where it is too much.
func (s *sessions) resize(grown *session) {
	size := len(grown.id) + grown.failure.size()
	s.bytes += size - grown.size
	grown.size = size
	for s.bytes > mostSessionBytes {
		s.forget(s.order.Front().Value.(*session).id)
	}
}

// size is about how many bytes f takes.
func (f *failure) size() int {
	const each = 64
	n := each
	for _, held := range f.texts {
		n += each + len(held.name) + len(held.text)
	}
	for _, user := range f.users {
		n += each + len(user)
	}
	return n
}

// merge adds a line of a session, in which so many lines of log were found, to what the
// session's other lines have said, and returns it all. A line with <F-NOFAIL> is no
// failure; one with <F-MLFGAINED> says that the client got in, which takes back what was pending; one with
// <F-MLFFORGET> ends the session.
func (s *sessions) merge(id string, found *failure, lines int, now time.Time) *failure {
	var line signals
	line.read(found)
	known := s.find(id, now)
	all := found
	switch {
	case known != nil:
		all = known.failure
		s.join(known, found, &line)
	case !line.forget:
		all.addUser(found.texts.of("user"))
		s.add(id, all, now)
	}
	// Whoever fails as one user and gets in as another has failed all the same.
	if all.pending || len(all.users) > 1 && (known != nil || !line.forget) {
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
	gained := found.texts.of("mlfgained")
	if l.gained = gained != ""; l.gained && found.texts.of("nofail") == "" {
		found.texts.set("nofail", gained)
	}
	l.quiet = found.texts.of("nofail") != ""
	l.forget = found.texts.of("mlfforget") != ""
	found.texts.forget("mlfforget")
}

// join puts found over what is known of a session.
func (s *sessions) join(known *session, found *failure, line *signals) {
	all := known.failure
	all.addUser(found.texts.of("user"))
	line.wasQuiet = all.texts.of("nofail") != "" || all.texts.of("mlfgained") != ""
	all.texts.forget("nofail")
	all.texts.forget("mlfgained")
	if line.gained {
		all.pending = false
	}
	if !line.wasQuiet && !all.pending {
		all.lines = 0 // these have been told already
	}
	for _, held := range found.texts {
		all.texts.set(held.name, held.text)
	}
	if line.forget {
		s.forget(known.id)
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

func (f *failure) addUser(user string) {
	if user != "" && len(f.users) < mostUsers && !slices.Contains(f.users, user) {
		f.users = append(f.users, user)
	}
}
