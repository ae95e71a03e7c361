// Package lazy makes things when they are first asked for, so that a command pays at its
// start for nothing that it does not use.
package lazy

import (
	"regexp"
	"sync"
)

// Regexp returns a function that gives the regex expr, which must compile: the first call panics
// where it does not.
func Regexp(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
