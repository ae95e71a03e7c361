package filter

import (
	"bufio"
	"bytes"
	"io/fs"
	"slices"
	"sync"

	"xdpban/internal/yamldoc"
)

// samplesKey begins the last part of a built-in filter.
const samplesKey = "samples:"

// ParseBuiltIn is Parse for a file that is part of the program: name in fsys, and shown in errors. Tests have read it as a whole, so that
// its samples, which stand last and are most of it, are read for those alone who ask, and lines that are comments for nobody.
func ParseBuiltIn(fsys fs.FS, name, shown string) (*Spec, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var rules bytes.Buffer
	hasSamples := false
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := lines.Bytes()
		hasSamples = string(line) == samplesKey
		if hasSamples {
			break
		}
		if !bytes.HasPrefix(bytes.TrimLeft(line, " "), []byte("#")) {
			rules.Write(line)
		}
		rules.WriteByte('\n') // rules know their lines
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	spec, err := Parse(shown, rules.Bytes())
	if err == nil && hasSamples {
		spec.later = sync.OnceValue(func() []yamldoc.Value[Sample] { return builtInSamples(fsys, name, shown) })
	}
	return spec, err
}

// builtInSamples are what stands behind samplesKey. That it cannot be read is as with a regex of the program that does not compile.
func builtInSamples(fsys fs.FS, name, shown string) []yamldoc.Value[Sample] {
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		panic(err)
	}
	at := bytes.Index(data, []byte("\n"+samplesKey+"\n"))
	before := bytes.Repeat([]byte("\n"), bytes.Count(data[:at], []byte("\n"))) // samples know their lines
	var rest struct {
		Samples []yamldoc.Value[Sample] `yaml:"samples"`
	}
	if err := yamldoc.Decode(shown, slices.Concat(before, data[at:]), &rest); err != nil {
		panic(err)
	}
	return rest.Samples
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
