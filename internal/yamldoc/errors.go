package yamldoc

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// An Error is one thing that is wrong with a document. Parts that do not apply are zero.
type Error struct {
	File string
	Line int    // from 1
	Jail string // the jail that the key belongs to
	Key  string // as a user would say it: maxretry, failregex[2].trust (lists count from 1)
	Msg  string // what is wrong
	Hint string // what to do about it
}

// Error is "FILE:LINE: jail JAIL: KEY: MSG (HINT)" without the parts that are empty.
func (e *Error) Error() string {
	var parts []string
	if e.File != "" && e.Line > 0 {
		parts = append(parts, e.File+":"+strconv.Itoa(e.Line))
	} else if e.File != "" {
		parts = append(parts, e.File)
	} else if e.Line > 0 {
		parts = append(parts, "line "+strconv.Itoa(e.Line))
	}
	if e.Jail != "" {
		parts = append(parts, "jail "+printable(e.Jail))
	}
	if e.Key != "" {
		parts = append(parts, printable(e.Key))
	}
	msg := e.Msg
	if e.Hint != "" {
		msg += " (" + e.Hint + ")"
	}
	return strings.Join(append(parts, msg), ": ")
}

// Errors are all that is wrong with one or more documents.
type Errors []*Error

// Error is one error a line, by file and line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e.Sorted() {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Sorted is a copy of e by file and line.
func (e Errors) Sorted() Errors {
	sorted := slices.Clone(e)
	slices.SortStableFunc(sorted, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return sorted
}

// Err is e as an error, sorted; nil if e is empty.
func (e Errors) Err() error {
	if len(e) == 0 {
		return nil
	}
	return e.Sorted()
}

// printable quotes what could harm a terminal.
func printable(text string) string {
	if quoted := strconv.Quote(text); quoted != `"`+text+`"` {
		return quoted
	}
	return text
}
