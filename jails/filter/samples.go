package filter

import (
	"fmt"
	"strings"
	"time"

	"xdpban/internal/yamldoc"
)

// A Sample is a line and what a filter must find in it.
type Sample struct {
	Line  string                   `yaml:"line,required"`
	Host  string                   `yaml:"host,required"` // who comes out, or none
	Rule  string                   `yaml:"rule"`          // the rule that matches; "": whichever
	Time  yamldoc.Value[time.Time] `yaml:"time"`          // when, in RFC 3339; dates without zone are UTC
	Trust Trust                    `yaml:"trust"`         // the rule's; must be said where it is untrusted
	Mode  string                   `yaml:"mode"`          // in which the filter reads the line; "": Normal
}

// noHost is the Host of a sample that nobody may come out of.
const noHost = "none"

// A SampleError is a sample that does not come out as it says.
type SampleError struct {
	File string
	Line int
	Text string // the sample's line
	Msg  string
}

// Error is "FILE:LINE: sample: MSG".
func (e SampleError) Error() string { return fmt.Sprintf("%s:%d: sample: %s", e.File, e.Line, e.Msg) }

// mode is the mode in which s is read.
func (s *Sample) mode() string {
	if s.Mode == "" {
		return Normal
	}
	return s.Mode
}

// Samples is how many samples f's file has, whatever their mode.
func (f *Filter) Samples() int { return len(f.spec.AllSamples()) }

// Check runs the samples of f's file, each in its own mode, and returns those that fail.
func (f *Filter) Check() []SampleError {
	var failed []SampleError
	inMode := map[string]*Filter{f.Mode: f}
	for _, sample := range f.spec.AllSamples() {
		msg := ""
		if in, err := f.in(sample.V.mode(), inMode); err != nil {
			msg = err.Error()
		} else {
			msg = in.checkSample(sample.V)
		}
		if msg != "" {
			failed = append(failed, SampleError{sample.File, sample.Line, sample.V.Line, msg})
		}
	}
	return failed
}

// in is f in another mode; made holds those that there are already.
func (f *Filter) in(mode string, made map[string]*Filter) (*Filter, error) {
	if in, ok := made[mode]; ok {
		return in, nil
	}
	in, err := New(f.Name, f.spec, mode)
	if err != nil {
		return nil, err
	}
	made[mode] = in
	return in, nil
}

// checkSample says what is wrong with what comes out of s; "": nothing.
func (f *Filter) checkSample(s Sample) string {
	now := time.Date(2026, time.December, 31, 0, 0, 0, 0, time.UTC)
	if s.Time.Set {
		now = s.Time.V.Add(time.Minute)
	}
	r := f.NewReader(time.UTC)
	got := r.Read([]byte(s.Line), now)
	if got.TimedOut > 0 {
		return f.ruleName(r.TimedOut()[0]) + " takes too long"
	}
	if got.Outcome != Matched {
		if s.Host != noHost {
			return fmt.Sprintf("host is %s, want %s", noHost, s.Host)
		}
		return ""
	}
	return f.rules[got.Rule].differs(s, got)
}

// ruleName is the name of a rule by its index in f.Rules, or what stands for the other regexes, see Reader.TimedOut.
func (f *Filter) ruleName(i int) string {
	if i == len(f.rules) {
		return "prefregex or an ignoreregex"
	}
	return "rule " + f.rules[i].Name
}

// differs says where got, found by r, is not what s says.
func (r rule) differs(s Sample, got Result) string {
	var wrong []string
	differ := func(what, got, want string) {
		if got != want {
			wrong = append(wrong, fmt.Sprintf("%s is %q, want %q", what, got, want))
		}
	}
	differ("host", got.ID(), s.Host)
	if s.Rule != "" {
		differ("rule", r.Name, s.Rule)
	}
	if s.Trust != 0 || r.Trust == Untrusted {
		differ("trust", r.Trust.String(), s.Trust.String())
	}
	if s.Time.Set {
		differ("time", got.Time.UTC().Format(time.RFC3339Nano), s.Time.V.UTC().Format(time.RFC3339Nano))
	}
	return strings.Join(wrong, "; ")
}
