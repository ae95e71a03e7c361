package filter

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"strings"

	"xdpban/internal/lazy"
)

// A rule is a Rule that can be run.
type rule struct {
	Rule
	runner
	named *groups
}

// A compiler makes rules of regexes as one filter writes them.
type compiler struct {
	dialect Dialect
	tags    map[string]string // Native: what tags stand for
	prefix  *syntax.Regexp    // Native: the tree of what <PREFIX> stands for; nil: nobody has asked for it
	multi   bool              // Fail2ban: ^ and $ are those of lines
}

// compile makes a rule; accept may refuse what is well formed by the names of its groups.
func (c *compiler) compile(written string, accept func(groups []string) error) (rule, error) {
	build := c.native
	if c.dialect == Fail2ban {
		build = c.fail2ban
	}
	r, err := build(written)
	if err != nil {
		return rule{}, err
	}
	r.Regex, r.Engine, r.named = written, r.engine(), groupsOf(r.groups, c.dialect)
	return r, accept(r.groups)
}

func (c *compiler) fail2ban(written string) (rule, error) {
	if strings.TrimSpace(written) == "" {
		return rule{}, errors.New("is empty")
	}
	expanded := expandFail2ban(written)
	p, err := pythonPattern(expanded, c.multi)
	if err != nil {
		return rule{}, err
	}
	m, err := p.runner()
	return rule{Rule: Rule{Expanded: expanded}, runner: m}, err
}

func (c *compiler) native(written string) (rule, error) {
	if err := misread(written); err != nil {
		return rule{}, err
	}
	expanded, err := expand(written, c.tags)
	if err != nil {
		return rule{}, err
	}
	m, err := c.nativeRunner(written, expanded)
	return rule{Rule: Rule{Expanded: expanded}, runner: m}, err
}

// parse is syntax.Parse of a regex of which the tags are replaced.
func (c *compiler) parse(expanded string) (*syntax.Regexp, error) {
	if tree := c.withPrefix(expanded); tree != nil {
		return tree, nil
	}
	return syntax.Parse(expanded, syntax.Perl)
}

// withPrefix is the tree of a regex that begins with <PREFIX>, whose own tree all share; nil: it does not, or parse has to do without.
func (c *compiler) withPrefix(expanded string) *syntax.Regexp {
	behind, ok := strings.CutPrefix(expanded, "^"+c.tags["<PREFIX>"])
	if !ok || hasFlags(behind) || hasMarks(behind) || strings.Contains(behind, `\x{`) {
		return nil
	}
	if c.prefix == nil {
		c.prefix, _ = syntax.Parse(c.tags["<PREFIX>"], syntax.Perl)
	}
	if c.prefix == nil {
		return nil
	}
	return parseMarked("^"+string(firstClass)+behind, c.prefix)
}

// looksAround finds what package regexp does not know and the other engine does.
var looksAround = lazy.Regexp(`\(\?(?:<?[=!]|>|\(|P=)`)

func (c *compiler) nativeRunner(written, expanded string) (runner, error) {
	parsed, err := c.parse(expanded)
	if err == nil {
		groups := parsed.CapNames()
		for i, name := range groups {
			groups[i] = groupName(name)
		}
		return linearTree(expanded, parsed, groups), nil
	}
	if !looksAround.Get().MatchString(expanded) {
		return runner{}, explain(written, err)
	}
	p, err := nativePattern(expanded)
	if err != nil {
		return runner{}, fmt.Errorf("%w (look-around, references and conditions go with plain syntax only)", err)
	}
	for i, name := range p.groups {
		p.groups[i] = groupName(name)
	}
	return p.runner()
}

// interpolation is how fail2ban's files put one setting into another.
var interpolation = lazy.Regexp(`%\([0-9A-Za-z_]+\)s`)

// misread refuses what would compile and never match, because something else was meant.
func misread(written string) error {
	if written == "" {
		return errors.New("is empty")
	}
	if strings.ContainsAny(written, "\n\r") {
		return errors.New("has a line break, which no line has: write a list with one regex an item, without |")
	}
	if strings.Contains(written, "%(") {
		if found := interpolation.Get().FindString(written); found != "" {
			return fmt.Errorf("%.60s is fail2ban's and means nothing here: write it out, <PREFIX> for __prefix_line", found)
		}
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
	return errors.New(msg)
}
