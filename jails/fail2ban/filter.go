package fail2ban

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"xdpban/internal/lazy"
	"xdpban/internal/yamldoc"
)

// A Filter is one of filter.d with everything put in but the tags that belong to regexes:
// <HOST>, <F-USER>, <SKIPLINES> ...
type Filter struct {
	Name         string // as in filter.d; of the jail, where that names none
	Prefregex    Line   // empty: none
	Failregex    []Line
	Ignoreregex  []Line
	Maxlines     int // 0: not said
	MaxlinesAt   Place
	Datepattern  []Line // none: fail2ban's defaults
	Journalmatch []Line
	UseDNS       Line // empty: not said
}

// filterOptions are those that make a filter, in the order in which fail2ban reads them.
var filterOptions = []string{"usedns", "prefregex", "ignoreregex", "failregex", "maxlines", "datepattern", "journalmatch"}

// A definition is a filter's file on the way to a Filter, by fail2ban's steps: what is asked
// for by name[option=value], or said by the jail, is stronger than what the file says.
type definition struct {
	*config
	name  string
	file  string // the first that was read
	asked *options
	vars  *options        // for %(name)s, beside what the file says
	own   *options        // what the file says
	cache map[string]text // tags that were looked up
}

// logtype says which of its prefixes a filter uses, unless it is told.
func (d *definition) logtype(journal bool) {
	if value, ok := d.asked.get("logtype"); ok && value.s != "" {
		return
	}
	if definition := d.sections["Definition"]; definition != nil && definition.has("logtype") {
		return
	}
	d.asked.set("logtype", said(map[bool]string{false: "file", true: "journal"}[journal]))
}

// readOptions reads the filter's options, but not those of jail. With all, whatever else stands
// in the definition is read too.
func (d *definition) readOptions(jail *options, all bool) error {
	given := jail.merged(d.asked)
	d.vars, d.own = given.lowered(), new(options)
	for _, name := range filterOptions {
		if given.has(name) {
			continue
		}
		value, err := d.get("Definition", name, d.vars)
		if absent(err) {
			continue
		}
		if err != nil {
			return err
		}
		d.own.set(name, value)
	}
	if err := d.readInit(); err != nil || !all {
		return err
	}
	for _, name := range d.sections["Definition"].names {
		if d.own.has(name) {
			continue
		}
		value, err := d.get("Definition", name, nil)
		if err != nil {
			return err
		}
		d.own.set(name, value)
	}
	return nil
}

// readInit adds to what is asked for what [Init] says where nothing was asked.
func (d *definition) readInit() error {
	init := d.sections["Init"]
	if init == nil {
		return nil
	}
	for _, name := range init.names {
		value, err := d.get("Init", name, nil)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(name, "known/") {
			d.asked.set("known/"+name, value)
		}
		if !d.asked.has(name) {
			d.asked.set(name, value)
		}
	}
	return nil
}

// combined is all that is known, with the values of tags in their places.
func (d *definition) combined() (*options, error) {
	all := d.own.merged(d.asked)
	ignore := make(map[string]bool)
	for _, name := range all.names {
		if m := conditional.Get().FindStringSubmatch(name); m != nil {
			ignore[m[1]] = true
		}
	}
	t := tagger{values: all, ignore: ignore, more: d.tag, works: d.works}
	if err := t.fill(); err != nil {
		return nil, err
	}
	return all, nil
}

// tag is the value of a tag that is no option of d's own.
func (d *definition) tag(name string) (text, bool, error) {
	if value, ok := d.cache[name]; ok {
		return value, value.at != nil, nil
	}
	value, err := d.getFrom("Definition", name, d.vars)
	if err != nil && !absent(err) {
		return text{}, false, err
	}
	d.cache[name] = value
	return value, err == nil, nil
}

// finish makes a Filter of values that are ready.
func finish(name string, values *options) (*Filter, error) {
	f := &Filter{Name: name}
	lines := func(name string) []Line {
		value, _ := values.get(name)
		return value.lines()
	}
	f.Failregex, f.Ignoreregex, f.Journalmatch = lines("failregex"), lines("ignoreregex"), lines("journalmatch")
	for _, line := range lines("datepattern") {
		if line.Text = trim(line.Text); line.Text != "" {
			f.Datepattern = append(f.Datepattern, line)
		}
	}
	f.Prefregex, f.UseDNS = one(values, "prefregex"), one(values, "usedns")
	if written := one(values, "maxlines"); written.Text != "" {
		n, err := strconv.Atoi(trim(written.Text))
		if err != nil || n < 1 {
			return nil, yamldoc.Errors{{File: written.File, Line: written.Line, Key: key("Definition", "maxlines"), Msg: fmt.Sprintf("want a number from 1, got %.60q", written.Text)}}
		}
		f.Maxlines, f.MaxlinesAt = n, written.Place
	}
	return f, nil
}

// one is the value of an option that has one line, or should have.
func one(values *options, name string) Line {
	value, ok := values.get(name)
	if !ok {
		return Line{}
	}
	return Line{value.s, value.place()}
}

// unknownChoice finds an option that was asked for with a value which the filter does not
// know: where <mdre-<mode>> chooses, there has to be an option mdre-VALUE.
func (d *definition) unknownChoice() error {
	for _, name := range d.asked.names {
		value := d.asked.values[name]
		if value.at[0] != (Place{}) {
			continue // the file's own
		}
		choices := d.choices(name)
		if len(choices) > 0 && !slices.Contains(choices, value.s) {
			return yamldoc.Errors{{File: d.file, Msg: fmt.Sprintf("has no %s %.60q", name, value.s), Hint: "there are: " + strings.Join(choices, ", ")}}
		}
	}
	return nil
}

// A chooser is <begin<option>end>: the value of the option chooses among others, whose names are
// begin, a value, end.
type chooser struct{ begin, option, end string }

var choosing = lazy.Regexp(`<([^ <>]*)<([^ <>]+)>([^ <>]*)>`)

// middle is what stands in name between what c begins and ends with.
func (c chooser) middle(name string) (string, bool) {
	if len(name) <= len(c.begin)+len(c.end) || !strings.HasPrefix(name, c.begin) || !strings.HasSuffix(name, c.end) {
		return "", false
	}
	return name[len(c.begin) : len(name)-len(c.end)], true
}

// choosers are all in the values of d.
func (d *definition) choosers() []chooser {
	var all []chooser
	for _, layer := range []*options{d.defaults, d.section("Definition"), d.section("Init")} {
		for _, name := range layer.names {
			for _, m := range choosing.Get().FindAllStringSubmatch(layer.values[name].s, -1) {
				all = append(all, chooser{m[1], m[2], m[3]})
			}
		}
	}
	return all
}

// choices are the values of an option for which what it chooses is there. A name belongs to
// the choosers that say most of it: mdre-ddos-other is what <mdre-<mode>-other> chooses in the
// mode ddos, not what <mdre-<mode>> does in a mode ddos-other.
func (d *definition) choices(option string) []string {
	choosers := d.choosers()
	var found []string
	for _, name := range d.choosable() {
		most := -1
		var middles []string
		for _, c := range choosers {
			middle, ok := c.middle(name)
			said := len(c.begin) + len(c.end)
			if !ok || said < most {
				continue
			}
			if said > most {
				most, middles = said, nil
			}
			if c.option == option {
				middles = append(middles, middle)
			}
		}
		found = append(found, middles...)
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// choosable are the names of all options that a tag can name, of other sections as
// section/option.
func (d *definition) choosable() []string {
	names := d.defaults.merged(d.section("Definition")).merged(d.section("Init")).names
	for _, section := range d.order {
		for _, option := range d.defaults.merged(d.sections[section]).names {
			names = append(names, section+"/"+option)
		}
	}
	return names
}
