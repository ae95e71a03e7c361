package filter

import (
	"bytes"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
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
	return &memory{lines: buffer{most: maxlines}, failure: &failure{}}
}

// recent is how old the last known date may be to be that of a line without one.
const recent = time.Minute

// readFail2ban reads a line as fail2ban does: its date is cut out, a line break put behind it
// (as for each line where rules see several), and the first rule that matches decides.
func (r *Reader) readFail2ban(line []byte, now time.Time) Result {
	m := r.memory
	m.failure = &failure{}
	at, dated := r.view(line, now)
	result := Result{Time: at, Dated: dated}
	m.lines.add(m.view)
	text := m.lines.text(&r.rest)
	if r.ignoresFirst() && r.ignores(text) {
		result.Outcome, result.Rule = Ignored, -1
		return result
	}
	inner, ok := r.content(text)
	if !ok {
		return result
	}
	lines := m.lines.lines
	if len(inner) != len(text) {
		m.inner = append(append(m.inner[:0], inner...), '\n')
		inner = m.inner
		m.lines.replace(inner[:len(inner)-1])
	}
	if result.Rule = r.first(inner); result.Rule < 0 {
		return result
	}
	matched, others := split(lines, r.found)
	m.lines.lines = others
	if r.ignoresMatch(inner, matched) {
		result.Outcome = Ignored
		return result
	}
	r.judge(&result, len(matched), now)
	return result
}

// view cuts the date out of line and says when that was. Without a date it is the last that was
// seen, unless that is long ago; an empty match of a datepattern means just that.
func (r *Reader) view(line []byte, now time.Time) (at time.Time, dated bool) {
	m, date := r.memory, r.date
	if date.from < date.to {
		m.view = append(append(m.view[:0], line[:date.from]...), line[date.to:]...)
		if at, dated = date.read(line, r.loc, now); dated {
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
	found := &failure{texts: make(map[string]string)}
	found.take(r.before)
	found.take(r.found)
	result.Outcome = Noted
	if session, ok := found.texts["mlfid"]; ok {
		found = m.sessions.merge(session, found, lines, now)
	} else {
		found.lines = lines
	}
	m.failure = found
	if found.texts["nofail"] != "" {
		return
	}
	id, addr, ok := found.identity()
	if !ok {
		found.pending = true
		return
	}
	result.Outcome, result.ID, result.Addr, result.Attempts = Matched, id, addr, found.lines
}

// A failure is what is known of one failure, or of a session that may become one.
type failure struct {
	texts   map[string]string // what groups held, by name
	users   []string          // of a session, each once
	lines   int               // that make up the failure
	quiet   int               // lines of the session that were none
	pending bool              // there were failures before anybody knew whose
}

// take adds what a regex found. What its groups leave out stays what it was.
func (f *failure) take(c capture) {
	var standIns, parts []string
	c.each(func(name string, text []byte) {
		switch kind, _ := complexName(name); {
		case kind == standIn && len(text) > 0:
			standIns = append(standIns, name)
		case kind == partOf:
			parts = append(parts, name)
		}
		if text != nil && name != contentGroup && name != skipped {
			f.texts[name] = string(text)
		}
	})
	if len(standIns)+len(parts) == 0 {
		return
	}
	own := c.texts()
	fillIn(own, standIns)
	combine(own, parts)
	delete(own, contentGroup)
	delete(own, skipped)
	maps.Copy(f.texts, own)
}

// texts are what the named groups hold that took part.
func (c *capture) texts() map[string]string {
	texts := make(map[string]string)
	c.each(func(name string, text []byte) {
		if text != nil {
			texts[name] = string(text)
		}
	})
	return texts
}

// fillIn gives groups that hold nothing what the first of their stand-ins holds.
func fillIn(texts map[string]string, standIns []string) {
	slices.Sort(standIns)
	for _, name := range standIns {
		if _, to := complexName(name); texts[to] == "" {
			texts[to] = texts[name]
		}
	}
}

// combine makes tuples of groups and their further parts, in the order of these parts' names. They are written as
// Python writes them: a group or part that holds nothing is None, unless it holds an empty text.
func combine(texts map[string]string, parts []string) {
	slices.Sort(parts)
	tuples := make(map[string][]string)
	for _, name := range parts {
		_, to := complexName(name)
		if tuples[to] == nil {
			tuples[to] = []string{pythonText(texts, to)}
		}
		tuples[to] = append(tuples[to], pythonText(texts, name))
	}
	for name, tuple := range tuples {
		texts[name] = "(" + strings.Join(tuple, ", ") + ")"
	}
}

// pythonText is what the group called name holds as Python shows it.
func pythonText(texts map[string]string, name string) string {
	text, ok := texts[name]
	switch {
	case !ok:
		return "None"
	case strings.Contains(text, "'") && !strings.Contains(text, `"`):
		return `"` + strings.ReplaceAll(text, `\`, `\\`) + `"`
	}
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}

// Groups whose names say that they belong to another.
const (
	standIn = "alt_"   // holds what the other could not
	partOf  = "tuple_" // makes a tuple with the other
)

// complexName is what a group called alt_NAME, tuple_NAME, alt_NAME_1 and so on is to which group; kind is "" if it is
// none of these.
func complexName(name string) (kind, base string) {
	for _, kind = range []string{standIn, partOf} {
		if base, ok := strings.CutPrefix(name, kind); ok {
			return kind, baseName(base)
		}
	}
	return "", ""
}

// baseName is name without a number at its end, under the name that the group of that tag has.
func baseName(name string) string {
	if at := strings.LastIndexByte(name, '_'); at >= 0 {
		if _, err := strconv.ParseUint(name[at+1:], 10, 32); err == nil {
			name = name[:at]
		}
	}
	if other, ok := renamed[name]; ok {
		return other
	}
	return name
}

// identity is who it was: an address, a network as ADDRESS/BITS, a name, or what <F-ID> holds. Nothing but
// an address is banned. false: nobody knows yet.
func (f *failure) identity() (id string, addr netip.Addr, ok bool) {
	fid, known := f.texts["fid"]
	text, ok := f.first("ip4", "ip6", "dns")
	switch {
	case known && (!ok || fid != text):
		text = fid
	case !ok:
		return "", netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil || addr.Zone() != "" {
		return text, netip.Addr{}, true
	}
	addr = addr.Unmap()
	if bits, err := strconv.Atoi(f.texts["cidr"]); err == nil && bits < addr.BitLen() {
		if net, err := addr.Prefix(bits); err == nil {
			return net.String(), netip.Addr{}, true
		}
	}
	return addr.String(), addr, true
}

// first is what the first of groups that took part holds.
func (f *failure) first(groups ...string) (text string, ok bool) {
	for _, name := range groups {
		if text, ok = f.texts[name]; ok {
			return text, true
		}
	}
	return "", false
}

// show puts what people may want to see of f into groups.
func (f *failure) show(groups map[string]any) {
	for name, text := range f.texts {
		groups[name] = text
	}
	if len(f.users) > 0 {
		groups["users"] = f.users
	}
}
