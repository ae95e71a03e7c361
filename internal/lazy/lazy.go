// Package lazy makes things when they are first asked for, so that a command pays at its
// start for nothing that it does not use.
package lazy

import (
	"regexp"
	"sync"
)

// A Pattern is a regex that is not compiled yet.
type Pattern struct {
	expr     string
	once     sync.Once
	compiled *regexp.Regexp
}

// Regexp is the regex expr, which must compile. The compiler lays it out: it takes nothing of the start.
func Regexp(expr string) *Pattern { return &Pattern{expr: expr} }

// Get compiles p if that has not been done. It panics where p does not compile.
func (p *Pattern) Get() *regexp.Regexp {
	p.once.Do(func() { p.compiled = regexp.MustCompile(p.expr) })
	return p.compiled
}
