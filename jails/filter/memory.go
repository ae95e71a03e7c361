package filter

import (
	"bytes"
	"net/netip"
	"strconv"
	"time"
)

// A memory is what a reader in the dialect Fail2ban keeps from line to line.
type memory struct {
	lines    buffer
	last     time.Time // of the last line that had a date; zero: none
	sessions sessions
	failure  *failure // of the line that was read last
	view     []byte   // the line that is being read, without its date
	inner    []byte   // the part of it that rules see
}

func newMemory(maxlines int) *memory {
	return &memory{lines: buffer{most: maxlines}, failure: &unfailed}
}

// renew has m forget everything. What it held is written over.
func (m *memory) renew() {
	m.lines = buffer{most: m.lines.most}
	m.last, m.failure = time.Time{}, &unfailed
	for m.sessions.oldest != nil {
		m.sessions.end(m.sessions.oldest)
	}
}

// unfailed is the failure of a line that is none. Nobody changes it.
var unfailed failure

// recent is how old the last known date may be to be that of a line without one.
const recent = time.Minute

// readFail2ban reads a line as fail2ban does: its date is cut out, a line break put behind it
// (as for each line where rules see several), and the first rule that matches decides.
func (r *Reader) readFail2ban(result *Result, line []byte, now time.Time) {
	m := r.memory
	m.failure = &unfailed
	at, dated := r.view(line, now)
	result.Time, result.Dated = at, dated
	m.lines.add(m.view)
	text := m.lines.text(&r.rest)
	if r.ignoresFirst() && r.ignores(text) {
		result.Outcome, result.Rule = Ignored, -1
		return
	}
	inner, ok := r.content(text)
	if !ok {
		return
	}
	lines := m.lines.lines
	if len(inner) != len(text) {
		m.inner = append(append(m.inner[:0], inner...), '\n')
		inner = m.inner
		m.lines.replace(inner[:len(inner)-1])
	}
	if result.Rule = r.first(inner); result.Rule < 0 {
		return
	}
	matched, others := split(lines, r.found)
	m.lines.lines = others
	if r.ignoresMatch(inner, matched) {
		result.Outcome = Ignored
		return
	}
	r.judge(result, len(matched), now)
}

// view cuts the date out of line and says when that was. Without a date it is the last that was
// seen, unless that is long ago; an empty match of a datepattern means just that.
func (r *Reader) view(line []byte, now time.Time) (at time.Time, dated bool) {
	m, date := r.memory, r.date
	if date.from < date.to {
		m.view = append(append(m.view[:0], line[:date.from]...), line[date.to:]...)
		if at, dated = r.stamp.read(date, line, r.loc, now); dated {
			m.last = at
			return at, true
		}
	} else {
		m.view = append(m.view[:0], line...)
	}
	if r.dates == nil || m.last.IsZero() || !m.last.After(now.Add(-recent)) {
		return now, false
	}
	m.view = append(m.view[:0], line...)
	return m.last, false
}

// ignoresFirst reports whether the ignoreregexes are so few that they are tried before the rules.
func (r *Reader) ignoresFirst() bool {
	return len(r.filter.ignore) > 0 && len(r.filter.ignore) < len(r.filter.rules)-2
}

// ignoresMatch tries the ignoreregexes on what the rules saw; of several lines on those that matched.
func (r *Reader) ignoresMatch(inner []byte, matched [][]byte) bool {
	if len(r.filter.ignore) == 0 {
		return false
	}
	if r.filter.maxlines > 1 {
		inner = append(bytes.Join(matched, []byte("\n")), '\n')
	}
	return r.ignores(inner)
}

// judge makes a failure of what was found, or keeps it with others of its session.
func (r *Reader) judge(result *Result, lines int, now time.Time) {
	m := r.memory
	found := m.sessions.fresh()
	found.take(r.before)
	found.take(r.found)
	result.Outcome = Noted
	if session, ok := found.texts.get("mlfid"); ok {
		found = m.sessions.merge(session, found, lines, now)
	} else {
		found.lines = lines
	}
	m.failure = found
	if len(found.texts.of("nofail")) > 0 {
		return
	}
	addr, name, ok := found.identity()
	if !ok {
		found.pending = true
		return
	}
	result.Outcome, result.Addr, result.Name, result.Attempts = Matched, addr, name, found.lines
}

// A failure is what is known of one failure, or of a session that may become one.
type failure struct {
	texts   texts
	users   texts // of a session, each once; without names
	lines   int   // that make up the failure
	quiet   int   // lines of the session that were none
	pending bool  // there were failures before anybody knew whose
}

// clear makes f a failure of which nothing is known.
func (f *failure) clear() {
	f.texts.clear()
	f.users.clear()
	f.lines, f.quiet, f.pending = 0, 0, false
}

// take adds to f what a regex found. What its groups leave out stays what it was.
func (f *failure) take(c *capture) {
	if c.rule == nil {
		return
	}
	for i := range c.rule.named.all {
		if group := &c.rule.named.all[i]; group.kept {
			if from, to, ok := c.first(i); ok {
				f.texts.set(group.name, c.text[from:to])
			}
		}
	}
	if c.rule.named.complex {
		f.complete(c)
	}
}

// isKept reports whether what a group holds says something about the failure.
func isKept(group string) bool { return group != contentGroup && group != skipped }

// complete adds to f what groups hold whose names say that they belong to others.
func (f *failure) complete(c *capture) {
	own := c.held()
	var standIns, parts []string
	for name, text := range own {
		if kind, _ := complexName(name); kind == standIn && text != "" {
			standIns = append(standIns, name)
		}
	}
	for i := range c.rule.named.all {
		if kind, _ := complexName(c.rule.named.all[i].name); kind == partOf {
			parts = append(parts, c.rule.named.all[i].name)
		}
	}
	if len(standIns)+len(parts) == 0 {
		return
	}
	fillIn(own, standIns)
	combine(own, parts)
	for name, text := range own {
		if isKept(name) {
			f.texts.set(name, []byte(text))
		}
	}
}

// identity is who it was: an address, or a network as ADDRESS/BITS, a name, or what <F-ID> holds. Nothing but
// an address is banned. false: nobody knows yet.
func (f *failure) identity() (addr netip.Addr, name string, ok bool) {
	fid, known := f.texts.get("fid")
	text, ok := f.first("ip4", "ip6", "dns")
	switch {
	case known && (!ok || !bytes.Equal(fid, text)):
		text = fid
	case !ok:
		return netip.Addr{}, "", false
	}
	addr, ok = parseAddr(bytes.Trim(text, "[]"))
	if !ok || addr.Zone() != "" {
		return netip.Addr{}, string(text), true
	}
	addr = addr.Unmap()
	if cidr, ok := f.texts.get("cidr"); ok {
		if bits, err := strconv.Atoi(string(cidr)); err == nil && bits < addr.BitLen() {
			if net, err := addr.Prefix(bits); err == nil {
				return netip.Addr{}, net.String(), true
			}
		}
	}
	return addr, "", true
}

// first is what the first of groups that took part holds.
func (f *failure) first(groups ...string) (text []byte, ok bool) {
	for _, name := range groups {
		if text, ok = f.texts.get(name); ok {
			return text, true
		}
	}
	return nil, false
}

// show puts what people may want to see of f into groups.
func (f *failure) show(groups map[string]any) {
	for i, held := range f.texts.held {
		groups[held.name] = string(f.texts.at(i))
	}
	var users []string
	for i := range f.users.held {
		users = append(users, string(f.users.at(i)))
	}
	if users != nil {
		groups["users"] = users
	}
}
