package filter

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// A writing says what the groups of a template hold.
type writing uint8

const (
	inFields  writing = iota // groups are named as fields
	inSeconds                // seconds since 1970
	inLong                   // seconds, or thousandths or millionths of them, by their length
	inTAI64N                 // the label of DJB's multilog
)

// A template is one way of writing a date.
type template struct {
	name     string // as written, or what fail2ban's own are called here
	key      string // two templates with one key are the same
	dialect  Dialect
	writing  writing
	digits   int  // the group that holds the number, unless inFields
	anchored bool // at the start or at the end of a line
	weight   float64
	compiled func() (*datePrograms, error) // made when first asked for: most files know one way of many
}

// datePrograms are what a template does with a line.
type datePrograms struct {
	finds *program // what is cut out: group 1
	reads *program
	names []string // of the groups of reads by number; "" has none
}

// programs are those of a template that is known to compile.
func (t *template) programs() *datePrograms {
	made, _ := t.compiled()
	return made
}

// saysDay reports whether t's dates are of a day that they name, and not of one near to now.
func (t *template) saysDay() bool {
	return slices.ContainsFunc(t.programs().names, func(group string) bool { return group == "d" || group == "j" })
}

// Where a pattern says that a date begins.
type beginning uint8

const (
	anywhere beginning = iota
	atWord             // not in the middle of a word
	atLine             // at the start of a line, behind two characters at most that are none of a word
)

// Marks that a pattern may begin with.
const (
	markLine    = "{^LN-BEG}"
	markUnbound = "{UNB}"
)

// newTemplate reads a pattern that is no name of several templates. year is this one.
func newTemplate(pattern string, d Dialect, year int) (*template, error) {
	t, err := lazyTemplate(pattern, d, year)
	if err != nil {
		return nil, err
	}
	_, err = t.compiled()
	return t, err
}

// lazyTemplate is newTemplate for a pattern that is known to compile.
func lazyTemplate(pattern string, d Dialect, year int) (*template, error) {
	if t := newNumber(pattern, d); t != nil {
		return t, nil
	}
	text, begin, end := pattern, atWord, true
	if bare, ok := strings.CutPrefix(text, markUnbound); ok {
		text, begin, end = bare, anywhere, false
	}
	if bare, ok := strings.CutPrefix(text, markLine); ok && begin == atWord {
		text, begin = bare, atLine
	}
	regex, folded, err := expandFields(strings.TrimSpace(text), year)
	if err != nil {
		return nil, err
	}
	if folded {
		regex = `(?iu)` + regex
	}
	t := &template{name: pattern, dialect: d, weight: 1}
	t.bound(regex, begin, end)
	return t, nil
}

// newNumber reads EPOCH, LEPOCH and TAI64N, alone or at the start of a line, and patterns
// that hold {EPOCH} or {LEPOCH}; nil: it is none of them.
func newNumber(pattern string, d Dialect) *template {
	key := strings.ToUpper(pattern)
	if strings.Contains(pattern, "%") {
		key = pattern // fail2ban's rule: a pattern with fields tells case
	}
	bare, begin := key, anywhere
	if cut, ok := strings.CutPrefix(key, markLine); ok {
		bare, begin = cut, atLine
	} else if cut, ok := strings.CutPrefix(key, "^"); ok {
		bare, begin = cut, atLine
	}
	t := &template{name: pattern, dialect: d, writing: inSeconds, digits: 1, weight: 1}
	if strings.Contains(key, "LEPOCH") {
		t.writing = inLong
	}
	digits := epochExpr(t.writing, d)
	if held := holdEpoch(pattern, digits); strings.Contains(key, "EPOCH") && held != pattern {
		t.digits = 2
		if !hasGroup(pattern) {
			held = "(" + held + ")"
		}
		return t.bound(held, atWord, true)
	}
	switch bare {
	case "EPOCH", "LEPOCH":
		if begin == anywhere {
			return t.bound(string(afterMark)+"("+digits+")", begin, true)
		}
		return t.bound("("+digits+")", begin, true)
	case "TAI64N":
		t.writing = inTAI64N
		return t.bound(`@[0-9a-f]{24}`, begin, true)
	}
	return nil
}

// epochExpr is the number of seconds. Caddy writes more digits of a second than fail2ban
// takes; nanoseconds are Go's.
func epochExpr(w writing, d Dialect) string {
	switch {
	case w == inLong && d == Fail2ban:
		return `[0-9]{10,11}(?:[0-9]{3}(?:\.[0-9]{1,6}|[0-9]{3})?)?`
	case w == inLong:
		return `[0-9]{10,11}(?:[0-9]{3}(?:\.[0-9]{1,6}|[0-9]{3}(?:[0-9]{3})?)?|\.[0-9]{1,9})?`
	case d == Fail2ban:
		return `[0-9]{10,11}\b(?:\.[0-9]{3,6})?`
	}
	return `[0-9]{10,11}\b(?:\.[0-9]{1,9})?`
}

// holdEpoch writes {EPOCH} and {LEPOCH} of pattern out, where no backslash stands before them.
func holdEpoch(pattern, digits string) string {
	var held strings.Builder
	for at := 0; at < len(pattern); {
		rest := strings.ToUpper(pattern[at:])
		n := 0
		for _, mark := range []string{"{EPOCH}", "{LEPOCH}"} {
			if strings.HasPrefix(rest, mark) && (at == 0 || pattern[at-1] != '\\') {
				n = len(mark)
			}
		}
		if n > 0 {
			held.WriteString("(" + digits + ")")
			at += n
			continue
		}
		held.WriteByte(pattern[at])
		at++
	}
	return held.String()
}

// bound gives regex its bounds and makes it t's. What t cuts out of a line is its first group; a
// regex that has none is put into one.
func (t *template) bound(regex string, begin beginning, end bool) *template {
	flags, regex := cutFlags(regex)
	boundBegin := begin != anywhere && !beginsBound(regex)
	boundEnd := end && !endsBound(regex)
	if !hasGroup(regex) {
		regex = grouped(regex)
	}
	t.anchored = !boundBegin && startsLine(regex) || !boundEnd && endsLine(regex)
	switch {
	case boundBegin && begin == atLine:
		t.anchored = true
		regex = `^(?:\W{0,2})?` + regex
	case boundBegin:
		regex = string(withinNoWord) + regex
	}
	if boundEnd {
		regex += string(withinNoWord)
	}
	t.key = flags + regex
	t.compiled = sync.OnceValues(func() (*datePrograms, error) { return compileDate(t.name, flags, unstarred(regex)) })
	return t
}

func compileDate(name, flags, regex string) (*datePrograms, error) {
	parsed, err := parsePython(flags, regex)
	if err != nil {
		return nil, explain(name, err)
	}
	made := &datePrograms{names: parsed.CapNames()}
	if made.reads, err = newProgram(parsed); err != nil {
		return nil, err
	}
	made.finds, err = newProgram(onlyGroup(parsed, 1))
	return made, err
}

// onlyGroup is a copy of re without other groups than one.
func onlyGroup(re *syntax.Regexp, group int) *syntax.Regexp {
	if re.Op == syntax.OpCapture && re.Cap != group {
		return onlyGroup(re.Sub[0], group)
	}
	c := *re
	c.Sub = nil
	for _, sub := range re.Sub {
		c.Sub = append(c.Sub, onlyGroup(sub, group))
	}
	return &c
}

// cutFlags takes the first flags, like (?i), out of regex.
func cutFlags(regex string) (flags, rest string) {
	for at := 0; at < len(regex); at++ {
		if !strings.HasPrefix(regex[at:], "(?") {
			continue
		}
		n := 2
		for at+n < len(regex) && 'a' <= regex[at+n] && regex[at+n] <= 'z' {
			n++
		}
		if n > 2 && at+n < len(regex) && regex[at+n] == ')' {
			return regex[at+2 : at+n], regex[:at] + regex[at+n+1:]
		}
	}
	return "", regex
}

// beginsBound reports whether regex says itself where it begins: with ^, with ** for
// anywhere, each maybe inside groups.
func beginsBound(regex string) bool {
	bare := strings.TrimLeft(regex, "(")
	opened := len(bare) < len(regex)
	return strings.HasPrefix(bare, "^") || strings.HasPrefix(bare, "**") || opened && strings.HasPrefix(bare, "?:^")
}

// endsBound reports whether regex says itself where it ends: with $, \b, \s or ** for anywhere.
func endsBound(regex string) bool {
	for _, end := range []string{"$", "$)", `\b`, `\s`} {
		if before, ok := strings.CutSuffix(regex, end); ok && !strings.HasSuffix(before, `\`) {
			return true
		}
	}
	before, ok := strings.CutSuffix(strings.TrimRight(regex, ")"), "**")
	return ok && !strings.HasSuffix(before, `\`)
}

// startsLine reports whether regex begins with ^, or with a group that does and has no other way to begin.
func startsLine(regex string) bool {
	if strings.HasPrefix(regex, "^") {
		return true
	}
	bare, ok := strings.CutPrefix(regex, "(")
	bare = strings.TrimPrefix(bare, "?:")
	return ok && strings.HasPrefix(bare, "^") && !strings.HasPrefix(bare, "^|")
}

// endsLine reports whether regex ends with $, or with a group that does and has no other way to end.
func endsLine(regex string) bool {
	before, ok := strings.CutSuffix(strings.TrimSuffix(regex, ")"), "$")
	return ok && !strings.HasSuffix(before, `\`) && !strings.HasSuffix(before, "|")
}

// hasGroup reports whether regex has a group that has no name. It looks at text alone, as
// fail2ban does: a bracket inside [...] counts, one behind a backslash does not.
func hasGroup(regex string) bool {
	for at := range len(regex) {
		if regex[at] != '(' || strings.HasPrefix(regex[at:], "(?") {
			continue
		}
		if before := regex[:at]; !strings.HasSuffix(before, `\`) && !strings.HasSuffix(before, "(?") {
			return true
		}
	}
	return false
}

// grouped puts regex into a group, without the ^ and the $ around it.
func grouped(regex string) string {
	body, begin := strings.CutPrefix(regex, "^")
	body, end := strings.CutSuffix(body, "$")
	group := "(" + body + ")"
	if begin {
		group = "^" + group
	}
	if end {
		group += "$"
	}
	return group
}

// unstarred takes ** from the begin and the end of regex.
func unstarred(regex string) string {
	opened := len(regex) - len(strings.TrimLeft(regex, "("))
	regex = regex[:opened] + strings.TrimPrefix(regex[opened:], "**")
	closed := len(strings.TrimRight(regex, ")"))
	if before, ok := strings.CutSuffix(regex[:closed], "**"); ok && !strings.HasSuffix(before, `\`) {
		regex = before + regex[closed:]
	}
	return regex
}

// parsePython reads a regex in Python's dialect as far as dates need it. A reference back to
// a group of one character, (?P=_sep), becomes an alternative for each such character.
func parsePython(flags, regex string) (*syntax.Regexp, error) {
	if bad := strings.Trim(flags, "iu"); bad != "" {
		return nil, fmt.Errorf("has flags %q: only (?i) and (?u) mean something for dates", bad)
	}
	if strings.Contains(flags, "i") {
		regex = `(?i)` + regex
	}
	text, err := toGo(regex)
	if err != nil {
		return nil, err
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	parsed, err = resolve(parsed)
	if err != nil {
		return nil, err
	}
	if referred(parsed) {
		return nil, errors.New("refers back to a group from outside of the sequence that the group is in")
	}
	return parsed, nil
}

// What Python's classes hold beyond Go's. The line as Python has it is text, not bytes.
const (
	pythonSpace = `\x{9}-\x{D}\x{1C}-\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}`
	pythonWord  = `\pL\pN_`
)

// A rewriter writes a regex of Python's dialect in Go's.
type rewriter struct {
	out     strings.Builder
	names   []string // of groups by number; "" has none
	inClass bool     // inside of [...]
}

// toGo rewrites a regex from Python's dialect to Go's. References become marks: see refMark.
func toGo(regex string) (string, error) {
	w := rewriter{names: []string{""}}
	for len(regex) > 0 {
		n, err := w.step(regex)
		if err != nil {
			return "", err
		}
		regex = regex[n:]
	}
	return w.out.String(), nil
}

// step writes what rest begins with, and returns how much that was.
func (w *rewriter) step(rest string) (int, error) {
	switch {
	case rest[0] == '\\' && len(rest) > 1:
		w.out.WriteString(escape(rest[:2], w.inClass))
		return 2, nil
	case w.inClass && rest[0] == '[':
		w.out.WriteString(`\[`)
		return 1, nil
	case w.inClass:
		w.inClass = rest[0] != ']'
	case rest[0] == '[':
		w.inClass = true
		return w.copy(rest, classStart(rest)), nil
	case rest[0] == '(':
		return w.group(rest)
	case strings.HasPrefix(rest, "{,"):
		w.out.WriteString("{0,")
		return len("{,"), nil
	}
	return w.copy(rest, 1), nil
}

func (w *rewriter) copy(rest string, n int) int {
	w.out.WriteString(rest[:n])
	return n
}

// lookArounds begin what depends on what stands around it.
var lookArounds = []string{"(?=", "(?!", "(?<=", "(?<!", "(?("}

// group writes the begin of a group, or a whole reference to one.
func (w *rewriter) group(rest string) (int, error) {
	for _, begin := range lookArounds {
		if strings.HasPrefix(rest, begin) {
			return 0, fmt.Errorf("looks around with %s: that is not supported in dates", begin)
		}
	}
	if after, ok := strings.CutPrefix(rest, "(?P="); ok {
		name, _, closed := strings.Cut(after, ")")
		number := groupNumber(w.names, name)
		if !closed || number == 0 {
			return 0, fmt.Errorf("(?P=%.20s) refers to no group before it", name)
		}
		w.out.WriteRune(refMark(number))
		return len("(?P=") + len(name) + len(")"), nil
	}
	if after, ok := strings.CutPrefix(rest, "(?P<"); ok {
		name, _, _ := strings.Cut(after, ">")
		if groupNumber(w.names, name) > 0 {
			return 0, fmt.Errorf("has two groups named %q", name)
		}
		w.names = append(w.names, name)
		return w.copy(rest, len("(?P<")), nil
	}
	if !strings.HasPrefix(rest, "(?") {
		w.names = append(w.names, "")
	}
	return w.copy(rest, 1), nil
}

// classStart is the length of what opens a class: [, [^, and a ] that stands for itself.
func classStart(text string) int {
	n := 1
	if strings.HasPrefix(text[n:], "^") {
		n++
	}
	if strings.HasPrefix(text[n:], "]") {
		n++
	}
	return n
}

// escape is what a backslash and a character are in Go's dialect.
func escape(text string, inClass bool) string {
	open, negated, end := "[", "[^", "]"
	if inClass {
		open, end = "", ""
	}
	switch text {
	case `\s`:
		return open + pythonSpace + end
	case `\w`:
		return open + pythonWord + end
	case `\S`:
		if !inClass {
			return negated + pythonSpace + end
		}
	case `\W`:
		if !inClass {
			return negated + pythonWord + end
		}
	case `\Z`:
		return `\z`
	}
	return text
}

func groupNumber(names []string, name string) int {
	for i, known := range names {
		if i > 0 && known != "" && known == name {
			return i
		}
	}
	return 0
}

// refMark stands for a reference to a group in a regex on its way to a program: a character
// of the last plane's private use.
func refMark(group int) rune { return '\U00100000' + rune(group) }

func isRefMark(r rune) bool { return '\U00100000' < r && r < '\U00108000' }

// referred reports whether re refers to a group.
func referred(re *syntax.Regexp) bool {
	if re.Op == syntax.OpLiteral && slices.ContainsFunc(re.Rune, isRefMark) {
		return true
	}
	return slices.ContainsFunc(re.Sub, referred)
}

// maxSeparators bounds the characters of a group that is referred to.
const maxSeparators = 16

// resolve replaces references to groups of one character. (?P<s>[-/])x(?P=s) becomes
// (?:(-)x-|(/)x/), where the groups of both alternatives have one number.
func resolve(re *syntax.Regexp) (*syntax.Regexp, error) {
	for i, sub := range re.Sub {
		resolved, err := resolve(sub)
		if err != nil {
			return nil, err
		}
		re.Sub[i] = resolved
	}
	if re.Op != syntax.OpConcat {
		return re, nil
	}
	for i := len(re.Sub) - 1; i >= 0; i-- {
		group := re.Sub[i]
		if group.Op != syntax.OpCapture || !refersTo(re.Sub[i+1:], group.Cap) {
			continue
		}
		chars := charsOf(group.Sub[0])
		if len(chars) == 0 {
			return nil, fmt.Errorf("refers back to the group %q, which is no short list of characters like [-/.]", group.Name)
		}
		either := &syntax.Regexp{Op: syntax.OpAlternate, Flags: re.Flags}
		for _, r := range chars {
			either.Sub = append(either.Sub, withChar(re.Sub[i:], group.Cap, r))
		}
		re.Sub = append(re.Sub[:i:i], either)
	}
	return re, nil
}

func refersTo(subs []*syntax.Regexp, group int) bool {
	for _, sub := range subs {
		if sub.Op == syntax.OpLiteral && strings.ContainsRune(string(sub.Rune), refMark(group)) || refersTo(sub.Sub, group) {
			return true
		}
	}
	return false
}

// charsOf lists what a class, or a literal of one character, matches; nil: re is neither, or it is too many.
func charsOf(re *syntax.Regexp) []rune {
	switch re.Op {
	case syntax.OpLiteral:
		if len(re.Rune) == 1 {
			return re.Rune
		}
	case syntax.OpCharClass:
		var chars []rune
		for i := 0; i+1 < len(re.Rune); i += 2 {
			for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
				if chars = append(chars, r); len(chars) > maxSeparators {
					return nil
				}
			}
		}
		return chars
	}
	return nil
}

// withChar is the sequence of subs, the first of which is the group, where the group is r.
func withChar(subs []*syntax.Regexp, group int, r rune) *syntax.Regexp {
	first := *subs[0]
	first.Sub = []*syntax.Regexp{{Op: syntax.OpLiteral, Rune: []rune{r}}}
	all := []*syntax.Regexp{&first}
	for _, sub := range subs[1:] {
		all = append(all, filled(sub, group, r))
	}
	return &syntax.Regexp{Op: syntax.OpConcat, Flags: subs[0].Flags, Sub: all}
}

// filled is a copy of re where references to the group are r.
func filled(re *syntax.Regexp, group int, r rune) *syntax.Regexp {
	c := *re
	if re.Op == syntax.OpLiteral {
		c.Rune = []rune(strings.ReplaceAll(string(re.Rune), string(refMark(group)), string(r)))
	}
	c.Sub = nil
	for _, sub := range re.Sub {
		c.Sub = append(c.Sub, filled(sub, group, r))
	}
	return &c
}

// speakable refuses patterns that hold what marks are made of.
func speakable(pattern string) error {
	if !utf8.ValidString(pattern) {
		return errors.New("is not UTF-8")
	}
	for _, r := range pattern {
		if r >= '\U00100000' || r < ' ' && r != '\t' {
			return fmt.Errorf("holds %q", r)
		}
	}
	return nil
}
