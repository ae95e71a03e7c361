package filter

import (
	"fmt"
	"strings"

	"xdpban/internal/lazy"
	"xdpban/internal/yamldoc"
)

// Trust says how a rule's service knows the address that the rule finds.
type Trust uint8

// The zero Trust is none: a rule in a file must say its own.
const (
	Verified  Trust = iota + 1 // the address took part in a handshake or answered a challenge
	Spoofable                  // the source of a packet that anybody could have sent
	Untrusted                  // text that the attacker wrote
)

var trusts = [...]string{"", "verified", "spoofable", "untrusted"}

// String is t as files write it.
func (t Trust) String() string {
	if int(t) < len(trusts) {
		return trusts[t]
	}
	return fmt.Sprintf("Trust(%d)", uint8(t))
}

// MarshalText is String for encoders.
func (t Trust) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what files write.
func (t *Trust) UnmarshalText(text []byte) error {
	for i, name := range trusts {
		if i > 0 && name == string(text) {
			*t = Trust(i)
			return nil
		}
	}
	return fmt.Errorf("want verified, spoofable or untrusted, got %.60q", text)
}

// A Spec is a filter as a file or a jail writes it.
type Spec struct {
	Description  string                    `yaml:"description"`
	Dialect      yamldoc.Value[Dialect]    `yaml:"dialect"`
	Prefix       []yamldoc.Value[string]   `yaml:"prefix"`       // names of the daemon in syslog; none: any name
	Prefregex    yamldoc.Value[string]     `yaml:"prefregex"`    // tried before all others; they see its <F-CONTENT>
	Failregex    []yamldoc.Value[RuleSpec] `yaml:"failregex"`    // tried in order, the first that matches counts
	Ignoreregex  []yamldoc.Value[string]   `yaml:"ignoreregex"`  // a line that one of these matches too does not count
	Maxlines     yamldoc.Value[int]        `yaml:"maxlines"`     // how many of the last lines a regex sees; 0: one
	Datepattern  []yamldoc.Value[string]   `yaml:"datepattern"`  // how dates are written; none: in any known way
	Journalmatch []yamldoc.Value[string]   `yaml:"journalmatch"` // what of the journal concerns the filter
	Longest      yamldoc.Value[int]        `yaml:"longest"`      // bytes; longer lines may have lost their end and match nothing; 0: no limit
	Samples      []yamldoc.Value[Sample]   `yaml:"samples"`      // see AllSamples

	later func() []yamldoc.Value[Sample] // nil: Samples are all
}

// A RuleSpec is one failregex. In a jail, and in the dialect Fail2ban, it may be a plain regex: then
// it has no name of its own and its trust is Spoofable, which bans, but not for longer than
// spoofed evidence may.
type RuleSpec struct {
	Regex yamldoc.Value[string]   `yaml:"regex,scalar"`
	Name  yamldoc.Value[string]   `yaml:"name"`
	Trust yamldoc.Value[Trust]    `yaml:"trust"`
	Modes []yamldoc.Value[string] `yaml:"modes"` // in which the rule is used; none: in all
}

// Parse reads the filter file data, whose name goes into errors. Every rule must have a
// name of its own and say its trust, unless the dialect is Fail2ban. The error is a
// yamldoc.Errors with all that is wrong; whether the regexes compile is seen by New.
func Parse(file string, data []byte) (*Spec, error) {
	spec := &Spec{}
	var errs yamldoc.Errors
	if err := yamldoc.Decode(file, data, spec); err != nil {
		found, ok := err.(yamldoc.Errors)
		if !ok {
			return nil, err
		}
		errs = found
	} else if len(spec.Failregex) == 0 {
		errs = append(errs, &yamldoc.Error{File: file, Key: "failregex", Msg: "has no rule"})
	}
	errs = append(errs, spec.checkRules()...)
	if err := errs.Err(); err != nil {
		return nil, err
	}
	return spec, nil
}

// modeName keeps the names of modes to what can stand in name[mode=x].
var modeName = lazy.Regexp(`^[A-Za-z0-9_-]+$`)

// checkRules finds rules that lack a name or a trust, and names given twice.
func (s *Spec) checkRules() yamldoc.Errors {
	var errs yamldoc.Errors
	first := make(map[string]int)
	short := s.Dialect.V == Fail2ban
	for i, rule := range s.Failregex {
		key := fmt.Sprintf("failregex[%d]", i+1)
		fail := func(part, msg string) { errs = append(errs, rule.Error(key+part, msg, "")) }
		if !rule.Set {
			continue // an error already
		}
		name := rule.V.Name.V
		switch {
		case name == "" && short:
		case strings.TrimSpace(name) == "":
			fail(".name", "is missing")
		case first[name] > 0:
			fail(".name", fmt.Sprintf("%q is the name of failregex[%d] too", name, first[name]))
		default:
			first[name] = i + 1
		}
		if rule.V.Trust.V == 0 && !short {
			fail(".trust", "is missing")
		}
		if rule.V.Regex.V == "" {
			fail(".regex", "is missing")
		}
		for _, mode := range rule.V.Modes {
			if !modeName.Get().MatchString(mode.V) {
				fail(".modes", fmt.Sprintf("%.60q is no name of a mode", mode.V))
			}
		}
	}
	return errs
}
