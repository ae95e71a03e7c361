package fail2ban

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"xdpban/internal/lazy"
	"xdpban/internal/yamldoc"
)

// An ini is one file in the dialect of Python's configparser that fail2ban asks for:
// = or : behind a name, values that go on in lines indented deeper, # and ; in front of a
// comment, ; behind white space within a line too.
// Source: docs.python.org/3/library/configparser.html.
type ini struct {
	name     string
	defaults *section // [DEFAULT]
	sections []*section
	comments map[int]string // that are whole lines, by line
	behind   map[int]string // that stand behind something, by line
	empty    map[int]bool
	lines    int
}

// A section is what stands below one [name].
type section struct {
	options
	name string
	at   Place
}

func (f *ini) section(name string) *section {
	for _, s := range f.sections {
		if s.name == name {
			return s
		}
	}
	return nil
}

const defaultSection = "DEFAULT"

// mistake is an error of f at a line.
func (f *ini) mistake(line int, msg, hint string) *yamldoc.Error {
	return &yamldoc.Error{File: f.name, Line: line, Msg: msg, Hint: hint}
}

// parse reads data, whose name goes into errors. The error is a yamldoc.Errors with all
// that is wrong.
func parse(name string, data []byte) (*ini, error) {
	p := parser{ini: &ini{name: name, comments: make(map[int]string), behind: make(map[int]string), empty: make(map[int]bool)}}
	p.defaults = &section{name: defaultSection, at: Place{File: name}}
	if len(data) > maxFile {
		return nil, yamldoc.Errors{p.mistake(0, fmt.Sprintf("is longer than %d KiB", maxFile>>10), "")}
	}
	if bytes.HasPrefix(data, []byte("\ufeff")) {
		return nil, yamldoc.Errors{p.mistake(1, "begins with a byte order mark", "save the file without it: fail2ban reads nothing of such a file")}
	}
	// As Python reads text: each way to end a line is one.
	all := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data))
	for line := range strings.Lines(all) {
		p.lines++
		p.line(strings.TrimSuffix(line, "\n"))
	}
	p.finish()
	if err := p.errs.Err(); err != nil {
		return nil, err
	}
	return p.ini, nil
}

// A parser goes through the lines of an ini.
type parser struct {
	*ini
	errs   yamldoc.Errors
	in     *section
	option string // whose value may go on; "": none
	indent int    // of the line that began it
}

var (
	headerLine = lazy.Regexp(`^\[(.+)\]`)
	optionLine = lazy.Regexp(`^(.*?)[\s\x1c-\x1f]*[=:][\s\x1c-\x1f]*(.*)$`)
)

func (p *parser) fail(msg, hint string) {
	p.errs = append(p.errs, p.mistake(p.lines, msg, hint))
}

func (p *parser) line(line string) {
	if !utf8.ValidString(line) {
		p.fail("is not UTF-8", "fail2ban reads nothing of such a file")
		return
	}
	content, comment, commented := cut(line)
	content = trim(content)
	if commented && content == "" {
		p.comments[p.lines] = comment
	} else if commented {
		p.behind[p.lines] = comment
	}
	indent := strings.IndexFunc(line, func(r rune) bool { return !blank(r) })
	switch {
	case content == "" && commented:
	case content == "":
		p.empty[p.lines] = true
		p.goOn("")
	case p.option != "" && utf8.RuneCountInString(line[:indent]) > p.indent:
		p.goOn(content)
	default:
		p.indent = utf8.RuneCountInString(line[:indent])
		p.begin(content)
	}
}

// cut separates a comment from line. A comment that is the whole line is given without its mark.
func cut(line string) (content, comment string, commented bool) {
	if whole := trim(line); strings.HasPrefix(whole, "#") || strings.HasPrefix(whole, ";") {
		return "", whole[1:], true
	}
	for i := range line {
		if line[i] == ';' && (i == 0 || strings.TrimRightFunc(line[:i], blank) != line[:i]) {
			return line[:i], line[i+1:], true
		}
	}
	return line, "", false
}

// goOn adds a line to the value of the last option.
func (p *parser) goOn(content string) {
	if p.option == "" {
		return
	}
	value := p.in.values[p.option]
	value.s += "\n" + content
	value.at = append(value.at, Place{p.name, p.lines})
	p.in.values[p.option] = value
}

// begin reads the first line of something.
func (p *parser) begin(content string) {
	p.option = ""
	if header := headerLine.Get().FindStringSubmatch(content); header != nil {
		p.header(header[1])
		return
	}
	option := optionLine.Get().FindStringSubmatch(content)
	switch {
	case strings.HasPrefix(content, "["):
		p.fail("a [section] without its ]", "")
		p.in = new(section) // what follows is meant for it
	case p.in == nil:
		p.fail("stands before the first [section]", "")
		p.in = new(section)
	case option == nil:
		p.fail(fmt.Sprintf("want option = value, got %.60q", content), "a line that goes on a value is indented")
	case option[1] == "":
		p.fail("an option without a name", "")
	default:
		p.begins(strings.ToLower(option[1]), option[2])
	}
}

func (p *parser) header(name string) {
	if name == defaultSection {
		p.in = p.defaults
		if p.in.at.Line == 0 {
			p.in.at.Line = p.lines
		}
		return
	}
	if before := p.section(name); before != nil {
		p.fail(fmt.Sprintf("[%.60s] is given twice, first on line %d", name, before.at.Line), "put them together")
		p.in = before
		return
	}
	p.in = &section{name: name, at: Place{p.name, p.lines}}
	p.sections = append(p.sections, p.in)
}

func (p *parser) begins(name, value string) {
	if before, ok := p.in.get(name); ok {
		p.errs = append(p.errs, &yamldoc.Error{
			File: p.name, Line: p.lines, Key: key(p.in.name, name),
			Msg: fmt.Sprintf("is given twice, first on line %d", before.place().Line), Hint: "fail2ban reads nothing of such a file",
		})
	}
	p.option = name
	p.in.set(name, text{trim(value), []Place{{p.name, p.lines}}})
}

// finish takes off what is blank at the end of values.
func (p *parser) finish() {
	for _, s := range append(p.sections, p.defaults) {
		for name, value := range s.values {
			value.s = strings.TrimRightFunc(value.s, blank)
			value.at = value.at[:strings.Count(value.s, "\n")+1]
			s.values[name] = value
		}
	}
}

// key names an option in errors.
func key(section, option string) string { return "[" + section + "] " + option }
