package filter

import (
	"slices"
	"strconv"
	"strings"
)

// texts are what groups held, by name. There are few.
type texts []namedText

type namedText struct{ name, text string }

// get is what the group called name held; false: it took no part.
func (t texts) get(name string) (text string, ok bool) {
	for i := range t {
		if t[i].name == name {
			return t[i].text, true
		}
	}
	return "", false
}

// of is get, and "" for a group that took no part.
func (t texts) of(name string) string {
	text, _ := t.get(name)
	return text
}

func (t *texts) set(name, text string) {
	for i := range *t {
		if have := &(*t)[i]; have.name == name {
			have.text = text
			return
		}
	}
	*t = append(*t, namedText{name, text})
}

func (t *texts) forget(name string) {
	*t = slices.DeleteFunc(*t, func(have namedText) bool { return have.name == name })
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
