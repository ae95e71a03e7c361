package filter

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// A rule is a Rule that can be run.
type rule struct {
	Rule
	re       *regexp.Regexp
	groups   []string // names, by index; one name may stand for several groups
	host     int      // index of the group hostGroup; -1: none
	literals [][]byte // every line that re matches holds them, one behind the other
	rarest   []byte   // one of them
}

// compile makes a rule of a regex as written; accept may refuse what is well formed.
func compile(written string, tags map[string]string, accept func(*regexp.Regexp) error) (rule, error) {
	if err := misread(written); err != nil {
		return rule{}, err
	}
	expanded, err := expand(written, tags)
	if err != nil {
		return rule{}, err
	}
	re, err := regexp.Compile(expanded)
	if err != nil {
		return rule{}, explain(written, err)
	}
	if err := accept(re); err != nil {
		return rule{}, err
	}
	texts := literals(expanded)
	groups := re.SubexpNames()
	for i, name := range groups {
		groups[i] = groupName(name)
	}
	return rule{
		Rule:     Rule{Regex: written, Expanded: expanded},
		re:       re,
		groups:   groups,
		host:     re.SubexpIndex(hostGroup),
		literals: texts,
		rarest:   longest(texts),
	}, nil
}

// interpolation is how fail2ban's files put one setting into another.
var interpolation = regexp.MustCompile(`%\([0-9A-Za-z_]+\)s`)

// misread refuses what would compile and never match, because something else was meant.
func misread(written string) error {
	if written == "" {
		return errors.New("is empty")
	}
	if strings.ContainsAny(written, "\n\r") {
		return errors.New("has a line break, which no line has: write a list with one regex an item, without |")
	}
	if found := interpolation.FindString(written); found != "" {
		return fmt.Errorf("%.60s is fail2ban's and means nothing here: write it out, <PREFIX> for __prefix_line", found)
	}
	return nil
}

// explain says what is wrong with a regex; what the tags stand for is not shown.
func explain(written string, err error) error {
	var bad *syntax.Error
	if !errors.As(err, &bad) {
		return err
	}
	msg := bad.Code.String()
	if strings.Contains(written, bad.Expr) {
		msg = fmt.Sprintf("%s: %.60q", msg, bad.Expr)
	}
	if bad.Code == syntax.ErrInvalidPerlOp {
		msg += ": look-around and conditions are not supported"
	}
	return errors.New(msg)
}

// mayMatch reports whether rest holds what r's matches hold. Few other lines do, so that
// long hostile ones cost little more than reading them.
func (r *rule) mayMatch(rest []byte) bool {
	return bytes.Contains(rest, r.rarest) && holds(rest, r.literals)
}

// match reports whether r matches rest.
func (r *rule) match(rest []byte) bool { return r.mayMatch(rest) && r.re.Match(rest) }

// find is the place in rest of whom r finds there.
func (r *rule) find(rest []byte) (from, to int, ok bool) {
	if !r.mayMatch(rest) {
		return 0, 0, false
	}
	groups := r.re.FindSubmatchIndex(rest)
	if groups == nil || groups[2*r.host] < 0 {
		return 0, 0, false
	}
	return groups[2*r.host], groups[2*r.host+1], true
}
