package filter

import (
	"bytes"
	"slices"
	"sync"

	"xdpban/internal/yamldoc"
)

// samplesKey begins the last part of a built-in filter.
var samplesKey = []byte("\nsamples:\n")

// ParseBuiltIn is Parse for a file that is part of the program. Tests have read it as a whole, so that
// its samples, which stand last and are most of it, are read for those alone who ask.
func ParseBuiltIn(file string, data []byte) (*Spec, error) {
	at := bytes.Index(data, samplesKey)
	if at < 0 {
		return Parse(file, data)
	}
	spec, err := Parse(file, data[:at+1])
	if err != nil {
		return nil, err
	}
	spec.later = sync.OnceValue(func() []yamldoc.Value[Sample] {
		var rest struct {
			Samples []yamldoc.Value[Sample] `yaml:"samples"`
		}
		before := bytes.Repeat([]byte("\n"), bytes.Count(data[:at], []byte("\n"))) // samples know their lines
		if err := yamldoc.Decode(file, slices.Concat(before, data[at:]), &rest); err != nil {
			panic(err) // part of the program, as a regex that does not compile
		}
		return rest.Samples
	})
	return spec, nil
}

// AllSamples are the samples of s.
func (s *Spec) AllSamples() []yamldoc.Value[Sample] {
	if s.later == nil {
		return s.Samples
	}
	return s.later()
}

// BuiltIn reports whether f is part of the program.
func (f *Filter) BuiltIn() bool { return f.spec.later != nil }

// Tried is what Injections finds of a built-in filter, which tests have seen to be nothing: so often, and on
// so many lines, that to find it again would take longer than to read most logs.
func (f *Filter) Tried() []Injection {
	tried := make([]Injection, len(f.rules))
	for i, rule := range f.rules {
		tried[i] = Injection{Verdict: Steady, Rule: i, By: i}
		if rule.Trust == Untrusted {
			tried[i].Verdict = Believed
		}
	}
	return tried
}
