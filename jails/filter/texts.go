package filter

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// texts are what groups held, by name. There are few. The zero value is empty.
type texts struct {
	held  []heldText
	bytes []byte // of all of them, one behind the other, and of those that others have replaced
}

type heldText struct {
	name     string
	from, to int // in texts.bytes
}

// clear forgets all texts. Their memory is used again, unless it is much.
func (t *texts) clear() {
	const much = 512
	t.held, t.bytes = t.held[:0], t.bytes[:0]
	if cap(t.bytes) > much {
		t.bytes = nil
	}
}

func (t *texts) index(name string) int {
	for i := range t.held {
		if t.held[i].name == name {
			return i
		}
	}
	return -1
}

func (t *texts) at(i int) []byte { return t.bytes[t.held[i].from:t.held[i].to] }

// get is what the group called name held, until t changes; false: it took no part.
func (t *texts) get(name string) (text []byte, ok bool) {
	if i := t.index(name); i >= 0 {
		return t.at(i), true
	}
	return nil, false
}

// of is get, and empty for a group that took no part.
func (t *texts) of(name string) []byte {
	text, _ := t.get(name)
	return text
}

// has reports whether a group held text.
func (t *texts) has(text []byte) bool {
	for i := range t.held {
		if bytes.Equal(t.at(i), text) {
			return true
		}
	}
	return false
}

// set puts a copy of text in the place of what the group called name held.
func (t *texts) set(name string, text []byte) {
	if i := t.index(name); i >= 0 {
		t.held[i] = heldText{}
		t.held[i] = t.write(name, text)
		return
	}
	t.add(name, text)
}

// add adds a copy of text.
func (t *texts) add(name string, text []byte) { t.held = append(t.held, t.write(name, text)) }

func (t *texts) write(name string, text []byte) heldText {
	const atFirst = 128
	switch {
	case t.bytes == nil:
		t.bytes = make([]byte, 0, max(atFirst, len(text)))
	case len(t.bytes)+len(text) > cap(t.bytes):
		t.pack()
	}
	from := len(t.bytes)
	t.bytes = append(t.bytes, text...)
	return heldText{name, from, len(t.bytes)}
}

// pack leaves out what has been replaced, where that is at least half.
func (t *texts) pack() {
	if 2*t.len() > len(t.bytes) {
		return
	}
	packed := make([]byte, 0, cap(t.bytes))
	for i := range t.held {
		text := t.at(i)
		t.held[i].from = len(packed)
		packed = append(packed, text...)
		t.held[i].to = len(packed)
	}
	t.bytes = packed
}

// len is how many bytes the texts have.
func (t *texts) len() (n int) {
	for i := range t.held {
		n += t.held[i].to - t.held[i].from
	}
	return n
}

func (t *texts) forget(name string) {
	if i := t.index(name); i >= 0 {
		t.held = slices.Delete(t.held, i, i+1)
	}
}

// held is what the named groups hold that took part.
func (c *capture) held() map[string]string {
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
