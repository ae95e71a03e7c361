package fail2ban

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"xdpban/jails/filter"
)

// A filterPage is a filter file of ours in the making.
type filterPage struct {
	name  string // of the file, without .yaml
	from  *Filter
	rules []rule
	modes []string // nil: one set of rules
	of    *config  // for its comments
	file  string   // of fail2ban, for its comments
}

// plainPage is a page with one set of rules.
func plainPage(name string, f *Filter, d *definition) *filterPage {
	p := &filterPage{name: name, from: f, of: d.config, file: d.file}
	for _, line := range f.Failregex {
		p.rules = append(p.rules, rule{Line: line})
	}
	return p
}

// finds reports whether p in a mode finds what f finds.
func (p *filterPage) finds(f *Filter, mode string) bool {
	if p.modes == nil {
		return p.from.Name == f.Name && p.from.alike(f)
	}
	return p.from.Name == f.Name && p.from.alikeButRules(f) && slices.Contains(p.modes, mode) && sameTexts(p.in(mode), f.Failregex)
}

// in are the rules of a mode.
func (p *filterPage) in(mode string) []Line {
	var lines []Line
	for _, r := range p.rules {
		if r.in(mode) {
			lines = append(lines, r.Line)
		}
	}
	return lines
}

// write is the file. dir is fail2ban's directory.
func (p *filterPage) write(dir string) []byte {
	var out page
	top, bottom := p.comments()
	var read []string
	for _, f := range p.of.read {
		if name := strings.TrimPrefix(f.name, filepath.Clean(dir)+"/"); !slices.Contains(read, name) {
			read = append(read, name)
		}
	}
	out.comment(0, []string{fmt.Sprintf(" Imported from fail2ban: %s.", strings.Join(read, ", "))})
	if len(top) > 1 {
		out.comment(0, append([]string{""}, top...))
	}
	out.gap()
	description := p.from.Name
	if len(top) > 0 {
		description = trim(top[0])
	}
	out.line(0, "description: "+quote(description))
	out.line(0, "dialect: "+filter.Fail2ban.String())
	p.writeRegexes(&out)
	p.writeRest(&out)
	if len(bottom) > 0 {
		out.gap()
		out.comment(0, bottom)
	}
	return []byte(out.String())
}

// comments are those at the top and at the bottom of the filter's own file.
func (p *filterPage) comments() (top, bottom []string) {
	f := p.of.fileOf(Place{File: p.file})
	if f == nil {
		return nil, nil
	}
	return f.top(), f.bottom()
}

func (p *filterPage) writeRegexes(out *page) {
	if regex := p.from.Prefregex; regex.Text != "" {
		out.gap()
		out.comment(0, p.of.above(regex.Place))
		out.line(0, "prefregex: "+quote(regex.Text))
	}
	out.gap()
	if mode, ok := p.of.section("Definition").get("mode"); ok && p.modes != nil {
		out.comment(0, p.of.above(mode.place()))
	}
	out.line(0, "failregex:")
	for _, r := range p.rules {
		out.comment(2, p.of.above(r.Place))
		if r.modes == nil {
			out.line(2, "- "+quote(r.Text))
			continue
		}
		out.line(2, "- regex: "+quote(r.Text))
		out.line(4, "modes: ["+strings.Join(r.modes, ", ")+"]")
	}
	if len(p.from.Ignoreregex) == 0 {
		return
	}
	out.gap()
	out.line(0, "ignoreregex:")
	for _, line := range p.from.Ignoreregex {
		out.comment(2, p.of.above(line.Place))
		out.line(2, "- "+quote(line.Text))
	}
}

func (p *filterPage) writeRest(out *page) {
	f := p.from
	if f.Maxlines > 1 {
		out.gap()
		out.comment(0, p.of.above(f.MaxlinesAt))
		out.line(0, fmt.Sprintf("maxlines: %d", f.Maxlines))
	}
	for _, part := range []struct {
		key   string
		lines []Line
	}{{"datepattern", f.Datepattern}, {"journalmatch", f.Journalmatch}} {
		if len(part.lines) == 0 {
			continue
		}
		out.gap()
		out.comment(0, p.of.above(part.lines[0].Place))
		out.list(0, part.key, lineTexts(part.lines))
	}
}

func lineTexts(lines []Line) []string {
	list := make([]string, len(lines))
	for i, line := range lines {
		list[i] = line.Text
	}
	return list
}

// pages are the filter files that jails need.
type pages struct {
	config *Config
	list   []*filterPage
}

// page finds or makes the file for the filter of j, and the mode of it that j means.
func (p *pages) page(j *Jail) (*filterPage, string, error) {
	if j.Spec.Text == "" {
		return p.add(plainPage(j.Name, j.Filter, &definition{config: j.config})), filter.Normal, nil
	}
	d, err := p.config.definition(j.Spec.Text)
	if err != nil {
		return nil, "", err
	}
	mode := d.mode()
	for _, page := range p.list {
		if page.finds(j.Filter, mode) {
			return page, page.modeOr(mode), nil
		}
	}
	page, err := p.moded(d)
	if err != nil {
		return nil, "", err
	}
	if page != nil && page.finds(j.Filter, mode) {
		return p.add(page), mode, nil
	}
	name := d.nameInMode()
	if plain, err := p.config.Filter(j.Spec.Text, false); err != nil || !plain.alike(j.Filter) {
		name = j.Name + "-own" // the jail says something of the filter itself
	}
	return p.add(plainPage(name, j.Filter, d)), filter.Normal, nil
}

// modeOr is mode where p has modes.
func (p *filterPage) modeOr(mode string) string {
	if p.modes == nil {
		return filter.Normal
	}
	return mode
}

// mode is the one that d is asked for, or has by itself.
func (d *definition) mode() string {
	if asked, ok := d.asked.get("mode"); ok {
		return asked.s
	}
	usual, _ := d.section("Definition").get("mode")
	return usual.s
}

// nameInMode is d's name, with the mode that was asked for if that is not d's usual one.
func (d *definition) nameInMode() string {
	asked, ok := d.asked.get("mode")
	if usual, _ := d.section("Definition").get("mode"); !ok || asked.s == usual.s || len(d.choices("mode")) == 0 {
		return d.name
	}
	return d.name + "-" + asked.s
}

// moded is a page for the filter d in all of its modes; nil if it has none, or if they
// differ in more than rules.
func (p *pages) moded(d *definition) (*filterPage, error) {
	modes := d.choices("mode")
	if len(modes) < 2 || slices.ContainsFunc(modes, func(mode string) bool { return !modeName(mode) }) {
		return nil, nil
	}
	if i := slices.Index(modes, filter.Normal); i > 0 {
		modes = slices.Insert(slices.Delete(modes, i, i+1), 0, filter.Normal)
	}
	var choices []choice
	for _, mode := range modes {
		f, err := p.config.Filter(d.name+"[mode="+mode+"]", false)
		if err != nil {
			return nil, err
		}
		choices = append(choices, choice{mode, f})
	}
	page := &filterPage{name: d.name, from: choices[0].Filter, modes: modes, of: d.config, file: d.file}
	if page.rules = together(choices); page.rules == nil {
		return nil, nil
	}
	return page, nil
}

// add takes page in, under a name of its own.
func (p *pages) add(page *filterPage) *filterPage {
	taken := func(name string) bool {
		return slices.ContainsFunc(p.list, func(other *filterPage) bool { return other.name == name })
	}
	base := fileName(page.name)
	page.name = base
	for n := 2; taken(page.name); n++ {
		page.name = fmt.Sprintf("%s-%d", base, n)
	}
	p.list = append(p.list, page)
	return page
}

// fileName is name with what a name of ours cannot have replaced.
func fileName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '.' || r == '_' || modeName(string(r))) {
			return r
		}
		return '-'
	}, name)
	if name == "" || strings.ContainsRune("._-", rune(name[0])) {
		return "f" + name
	}
	return name
}
