package filter

import (
	"bytes"
	"slices"
	"strings"
)

// tempered takes (?:(?!TEXT).)* apart, in any of its forms: text must not begin anywhere inside.
func (n *node) tempered() (text []byte, each *node, ok bool) {
	body := n.subs[0]
	for body.op == opGroup && !body.flags.fold {
		body = body.subs[0]
	}
	if n.how == '+' || body.op != opConcat || len(body.subs) != 2 {
		return nil, nil, false
	}
	look, each := body.subs[0], body.subs[1]
	if look.op != opLook || look.behind || !look.not || look.flags.fold {
		return nil, nil, false
	}
	if each.op != opAny && each.op != opClass && each.op != opRune {
		return nil, nil, false
	}
	text, ok = look.subs[0].literal()
	return text, each, ok
}

// guardTempered writes n as a repetition of each, in which text must not begin. Where it can be written as one that does not
// hold text, the guard is there for what begins inside and ends behind.
func (w *writer) guardTempered(n *node, text []byte, each *node) {
	plain := &node{op: opRepeat, subs: []*node{each}, min: n.min, max: n.max, how: n.how}
	write := func() { w.repeat(plain) }
	if a, ok := avoiding(n, text, each); ok {
		write = func() { w.WriteString(a.regex()) }
	}
	w.guard(write, func(line []byte, from, to int, _ func(int) (int, int)) bool {
		return from == to || !bytes.Contains(line[from:min(to+len(text)-1, len(line))], text)
	})
}

// An avoidance is any number of characters that do not hold a text, as a regex without look-around. Its ways are in the order of those
// of .* or .*?
//
// It goes from character to character: outside of the text, or behind its first one, two ... characters. What comes then goes on in the
// text, or begins it again, which takes its first character, or leaves it. So the first one stands nowhere else in the text but at its end.
type avoidance struct {
	text []rune
	lazy string // "?" or ""
	any  string // what no character may be either, as in a class
}

// avoiding is n, which is tempered, as an avoidance; false: it is none.
func avoiding(n *node, text []byte, each *node) (a avoidance, ok bool) {
	runes := []rune(string(text))
	if n.min != 0 || n.max >= 0 || each.op != opAny || slices.Contains(runes, '\n') || slices.Contains(inner(runes), runes[0]) {
		return avoidance{}, false
	}
	a = avoidance{text: runes, any: `\n`}
	if n.how != 0 {
		a.lazy = string(rune(n.how))
	}
	if each.flags.dotall {
		a.any = ""
	}
	return a, true
}

// inner are runes without the first and the last.
func inner(runes []rune) []rune {
	if len(runes) < 3 {
		return nil
	}
	return runes[1 : len(runes)-1]
}

func (a *avoidance) regex() string {
	outside := a.not(a.text[0])
	if len(a.text) == 1 {
		return outside + "*" + a.lazy
	}
	first := letter(a.text[0])
	return "(?:" + outside + "|" + first + a.again("") + a.leave(1) + ")*" + a.lazy +
		"(?:" + first + a.again(a.lazy) + a.stop(1) + ")?" + a.lazy
}

// not is any character that is none of some.
func (a *avoidance) not(some ...rune) string {
	w := writer{}
	w.WriteString("[^" + a.any)
	for _, r := range some {
		w.member(r)
	}
	return w.String() + "]"
}

func letter(r rune) string {
	w := writer{}
	w.rune(r)
	return w.String()
}

// again is to begin the text again, any number of times, from behind its first character.
func (a *avoidance) again(lazy string) string {
	first, last := letter(a.text[0]), len(a.text)-1
	if a.text[0] == a.text[last] {
		last--
	}
	if last == 0 {
		return ""
	}
	var b strings.Builder
	for _, r := range a.text[1:last] {
		b.WriteString("(?:" + first + "|" + letter(r))
	}
	b.WriteString(first + strings.Repeat(")", last-1))
	return "(?:" + b.String() + ")*" + lazy
}

// leave is to go on in the text from behind its first n characters, and then to leave it.
func (a *avoidance) leave(n int) string {
	next := a.text[n]
	out := a.not(a.text[0], next)
	if n == len(a.text)-1 {
		return out
	}
	return "(?:" + out + "|" + letter(next) + a.leave(n+1) + ")"
}

// stop is to go on in the text from behind its first n characters, but not to its end.
func (a *avoidance) stop(n int) string {
	if n == len(a.text)-1 {
		return ""
	}
	return "(?:" + letter(a.text[n]) + a.stop(n+1) + ")?" + a.lazy
}
