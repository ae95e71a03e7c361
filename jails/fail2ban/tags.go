package fail2ban

import (
	"fmt"
	"strings"

	"xdpban/internal/lazy"
	"xdpban/internal/yamldoc"
)

// maxRepeat is how often one tag may be put into a value; fail2ban's.
const maxRepeat = 25

// tag is how a value names another. Most of what looks like it is not: <HOST>, (?P<name>...).
var tag = lazy.Regexp(`<([^ <>]+)>`)

// A tagger puts values in place of <tag>s, until nothing changes: a value may make up the
// name of another, as in <mdre-<mode>>.
type tagger struct {
	values *options
	ignore map[string]bool                       // neither filled nor put in
	more   func(name string) (text, bool, error) // what values does not have
	works  func(n, length int) bool              // whether so much may be copied
	counts map[string]map[string]int             // by value and tag
}

// fill fills all values. A tag without a value is no tag and stays.
func (t *tagger) fill() error {
	t.counts = make(map[string]map[string]int)
	done := make(map[string]bool)
	for again := true; again; {
		again = false
		for _, name := range t.values.names {
			if t.ignore[name] || done[name] {
				continue
			}
			before := t.values.values[name]
			after, err := t.fillOne(name, before)
			if err != nil {
				return err
			}
			t.values.set(name, after)
			again = again || after.s != before.s && tag.Get().MatchString(after.s)
			done[name] = !strings.Contains(after.s, "<")
		}
	}
	return nil
}

// fillOne goes once through a value.
func (t *tagger) fillOne(name string, value text) (text, error) {
	counts := t.counts[name]
	if counts == nil {
		counts = make(map[string]int)
		t.counts[name] = counts
	}
	for from := 0; t.works(len(value.s)-from, len(value.s)); {
		m := tag.Get().FindStringSubmatchIndex(value.s[from:])
		if m == nil {
			return value, nil
		}
		start, end := from+m[0], from+m[1]
		found := value.s[start+1 : end-1]
		if t.ignore[found] {
			from = end
			continue
		}
		if found == name || counts[found] > maxRepeat {
			return text{}, t.mistake(name, value, fmt.Sprintf("<%.60s> is put into itself", found))
		}
		with, ok, err := t.lookup(found)
		if err != nil {
			return text{}, err
		}
		if !ok {
			from = end
			continue
		}
		n := strings.Count(value.s, value.s[start:end])
		if grown := len(value.s) + n*len(with.s); !t.works(n*grown, grown) {
			return text{}, t.mistake(name, value, "grows too long")
		}
		value = value.replaceAll(value.s[start:end], with)
		counts[found]++
		from = min(start, len(value.s)) // it may have stood further up too
	}
	return text{}, t.mistake(name, value, "grows too long")
}

func (t *tagger) lookup(name string) (text, bool, error) {
	if value, ok := t.values.get(name); ok {
		return value, true, nil
	}
	return t.more(name)
}

func (t *tagger) mistake(name string, value text, msg string) error {
	at := value.place()
	return yamldoc.Errors{{File: at.File, Line: at.Line, Key: key("Definition", name), Msg: msg}}
}
