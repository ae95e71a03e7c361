package fail2ban

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"xdpban/internal/lazy"
	"xdpban/internal/yamldoc"
)

var (
	errNoSection = errors.New("no such section")
	errNoOption  = errors.New("no such option")
)

// maxDepth is how deep values may be put into values; Python's.
const maxDepth = 10

var (
	reference        = lazy.Regexp(`^%\(([^)]+)\)s`)
	sectionReference = lazy.Regexp(`%\(([\w\-]+)/([^)]+)\)s`)
	sectionName      = lazy.Regexp(`^([\w\-]+)/([^\s>]+)$`)
)

// get is the value of an option, with the values of others in place of %(name)s. They are
// looked for in vars (which may be nil), then in the section, then in [DEFAULT]. The error
// is errNoSection, errNoOption, or a yamldoc.Errors.
func (c *config) get(section, option string, vars *options) (text, error) {
	own := c.sections[section]
	if own == nil && section != defaultSection {
		return text{}, errNoSection
	}
	s := scope{config: c, section: section, option: option, layers: []map[string]text{nil, nil, nil, c.defaults.values}}
	if own != nil {
		s.layers[2] = own.values
	}
	if vars != nil {
		s.layers[1] = vars.values
	}
	value, ok := s.lookup(strings.ToLower(option))
	if !ok {
		return text{}, errNoOption
	}
	return s.fill(value, 1)
}

// getFrom is get; an option like known/name or section/name is looked for there first.
func (c *config) getFrom(section, option string, vars *options) (text, error) {
	if m := sectionName.Get().FindStringSubmatch(option); m != nil {
		places := []string{m[1]}
		switch strings.ToLower(m[1]) {
		case "known":
			places = []string{known + section, section}
		case "default":
			places = []string{defaultSection}
		}
		for _, place := range places {
			value, err := c.get(place, m[2], nil)
			if !absent(err) {
				return value, err
			}
		}
	}
	return c.get(section, option, vars)
}

// absent tells errors of what is not there.
func absent(err error) bool { return errors.Is(err, errNoSection) || errors.Is(err, errNoOption) }

// A scope is where the names in one value are looked for.
type scope struct {
	*config
	section, option string
	layers          []map[string]text // the first holds what %(section/option)s stand for
}

func (s *scope) lookup(name string) (text, bool) {
	for _, layer := range s.layers {
		if value, ok := layer[name]; ok {
			return value, true
		}
	}
	return text{}, false
}

// fill puts values in place of references; depth says how many values value is inside of.
func (s scope) fill(value text, depth int) (text, error) {
	if depth > maxDepth {
		return text{}, s.mistake(value.place(), "is put into itself, or too deep", "")
	}
	s.work += len(value.s)
	s.layers = append([]map[string]text{maps.Clone(s.layers[0])}, s.layers[1:]...)
	s.name(value.s)
	for at := 0; ; {
		i := strings.IndexByte(value.s[at:], '%')
		if i < 0 {
			return value, nil
		}
		at += i
		with, length, err := s.reference(value, at, depth)
		if err != nil {
			return text{}, err
		}
		value = value.splice(at, at+length, with)
		at += len(with.s)
		if !s.works(len(value.s), len(value.s)) {
			return text{}, s.mistake(value.place(), "grows too long", "")
		}
	}
}

// reference is what stands for the % at a place of value, and how long it is there.
func (s scope) reference(value text, at, depth int) (with text, length int, err error) {
	rest := value.s[at:]
	where := value.at[strings.Count(value.s[:at], "\n")]
	if strings.HasPrefix(rest, "%%") {
		return said("%"), 2, nil
	}
	m := reference.Get().FindStringSubmatch(rest)
	if m == nil {
		return with, 0, s.mistake(where, fmt.Sprintf("a %% that begins nothing: %.40q", rest), "write %% for the character, %(name)s for a value")
	}
	with, ok := s.lookup(strings.ToLower(m[1]))
	if !ok {
		return with, 0, s.mistake(where, fmt.Sprintf("%.60s: there is no option of that name", m[0]), "")
	}
	if strings.Contains(with.s, "%") {
		with, err = s.fill(with, depth+1)
	}
	return with, len(m[0]), err
}

// name gives the references in value to other sections their values, where they have one,
// and the section a name. Values that are put into value see them too.
func (s *scope) name(value string) {
	if s.layers[0] == nil {
		s.layers[0] = make(map[string]text)
	}
	s.layers[0]["__name__"] = said(s.section)
	if !strings.Contains(value, "/") {
		return
	}
	for _, m := range sectionReference.Get().FindAllStringSubmatch(value, -1) {
		name, section, option := m[1]+"/"+m[2], m[1], m[2]
		if _, ok := s.lookup(name); ok {
			continue
		}
		if found, ok := s.otherSection(section, option); ok {
			s.layers[0][name] = found
		}
	}
}

// otherSection is a raw value of another section, or of [DEFAULT] where that has none.
func (s *scope) otherSection(section, option string) (text, bool) {
	var from *options
	switch strings.ToLower(section) {
	case "default":
	case "known":
		from = s.sections[known+s.section]
	default:
		if from = s.sections[section]; from == nil {
			return text{}, false
		}
	}
	if from != nil {
		if value, ok := from.get(option); ok {
			return value, true
		}
	}
	return s.defaults.get(option)
}

// mistake is an error of the option that s is about.
func (s *scope) mistake(at Place, msg, hint string) error {
	return yamldoc.Errors{{File: at.File, Line: at.Line, Key: key(s.section, s.option), Msg: msg, Hint: hint}}
}
