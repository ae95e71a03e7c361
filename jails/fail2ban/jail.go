package fail2ban

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"xdpban/internal/yamldoc"
)

// A Jail is a section of jail.conf and what is put over it, with its filter.
type Jail struct {
	Name    string
	At      Place
	Enabled bool
	Backend string // as written: auto, systemd ...
	Spec    Line   // of the filter, as sshd[mode=normal]; empty: none
	Filter  *Filter

	options *options // of jailOptions, those that have a value
	own     *options // what the jail's section says itself
	config  *config
}

// jailOptions are what fail2ban reads of a jail, in its order.
var jailOptions = slices.Concat([]string{
	"enabled", "backend", "maxretry", "maxmatches", "findtime", "bantime",
	"bantime.increment", "bantime.factor", "bantime.formula", "bantime.multipliers", "bantime.maxtime", "bantime.rndtime", "bantime.overalljails",
	"ignorecommand", "ignoreself", "ignoreip", "ignorecache", "filter", "logtimezone", "logencoding", "logpath", "action",
}, filterOptions)

// versionRead is the version of fail2ban whose behaviour this is.
const versionRead = "1.0.2"

// Jails reads jail.conf, jail.d/*.conf, jail.local and jail.d/*.local, and the filter of
// every jail, enabled or not. The order is that of the files. The error is a
// yamldoc.Errors; the jails that have none come along with it.
func (c *Config) Jails() ([]*Jail, error) {
	files := filesOf(filepath.Join(c.dir, "jail"))
	if len(files) == 0 {
		return nil, yamldoc.Errors{{File: filepath.Join(c.dir, "jail.conf"), Msg: "is missing", Hint: "name the directory of fail2ban, as /etc/fail2ban"}}
	}
	read, err := c.reader.load(files)
	if err != nil {
		return nil, err
	}
	read.defaults = read.defaults.clone()
	read.defaults.set("fail2ban_version", said(versionRead))
	read.defaults.set("fail2ban_confpath", said(c.dir))
	var jails []*Jail
	var errs yamldoc.Errors
	for _, name := range slices.Clone(read.order) {
		if name == "INCLUDES" {
			continue
		}
		jail, err := c.jail(read, name)
		if err != nil {
			errs = append(errs, inJail(name, err)...)
			continue
		}
		jails = append(jails, jail)
	}
	return jails, errs.Err()
}

// inJail is err as errors of a jail.
func inJail(name string, err error) yamldoc.Errors {
	var errs yamldoc.Errors
	if !errors.As(err, &errs) {
		errs = yamldoc.Errors{{Msg: err.Error()}}
	}
	for _, e := range errs {
		e.Jail, e.Key = name, strings.TrimPrefix(e.Key, key(name, ""))
	}
	return errs
}

func (c *Config) jail(read *config, name string) (*Jail, error) {
	j := &Jail{Name: name, At: read.at(name), config: read, own: read.sections[name].clone()}
	first, err := j.read("enabled", "backend", "filter")
	if err != nil {
		return nil, err
	}
	j.options = first
	j.Enabled, j.Backend, j.Spec = truth(one(first, "enabled").Text), one(first, "backend").Text, one(first, "filter")
	var d *definition
	if j.Spec.Text != "" {
		if d, err = c.of(j); err != nil {
			return nil, err
		}
	}
	if j.options, err = j.read(jailOptions...); err != nil {
		return nil, err
	}
	if d == nil {
		j.Filter, err = finish(name, j.options)
		return j, err
	}
	if err := d.readOptions(j.options, false); err != nil {
		return nil, err
	}
	values, err := d.combined()
	if err != nil {
		return nil, err
	}
	j.Filter, err = finish(d.name, j.over(values))
	return j, err
}

// of reads the filter of j, and makes what it says known to j, as known/name.
func (c *Config) of(j *Jail) (*definition, error) {
	d, err := c.definition(j.Spec.Text)
	if err == nil {
		err = d.unknownChoice()
	}
	if err != nil {
		return nil, placed(err, j.Spec.Place)
	}
	d.logtype(strings.HasPrefix(j.Backend, "systemd"))
	if err := d.readOptions(j.options, true); err != nil {
		return nil, err
	}
	values, err := d.combined()
	if err != nil {
		return nil, err
	}
	section := j.config.section(j.Name)
	for _, name := range values.names {
		if !strings.HasPrefix(name, "known/") {
			section.set("known/"+name, values.values[name])
		}
	}
	return d, nil
}

// placed gives errors that stand in no file the place at.
func placed(err error, at Place) error {
	var errs yamldoc.Errors
	if errors.As(err, &errs) {
		for _, e := range errs {
			if e.Line == 0 {
				e.File, e.Line = at.File, at.Line
			}
		}
	}
	return err
}

// read reads options of j; fail2ban has values of its own for three.
func (j *Jail) read(names ...string) (*options, error) {
	all := new(options)
	var errs yamldoc.Errors
	for _, name := range names {
		value, err := j.config.get(j.Name, name, nil)
		var wrong yamldoc.Errors
		switch {
		case err == nil:
			all.set(name, value)
		case errors.As(err, &wrong):
			errs = append(errs, wrong...)
		case name == "backend":
			all.set(name, said("auto"))
		case name == "filter" || name == "action":
			all.set(name, said(""))
		}
	}
	return all, errs.Err()
}

// over puts what the jail says of its filter to what the filter says of itself.
func (j *Jail) over(values *options) *options {
	all := values.clone()
	for _, name := range filterOptions {
		own, ok := j.options.get(name)
		if !ok {
			continue
		}
		before, both := values.get(name)
		switch {
		case !both || name == "datepattern":
			all.set(name, own)
		case strings.HasSuffix(name, "regex") && name != "prefregex" || name == "journalmatch":
			all.set(name, before.splice(len(before.s), len(before.s), said("\n")).append(own))
		}
	}
	return all
}

// append is t with more behind it.
func (t text) append(more text) text { return t.splice(len(t.s), len(t.s), more) }

// truth is what fail2ban takes for yes.
func truth(s string) bool {
	return slices.Contains([]string{"1", "on", "true", "yes"}, strings.ToLower(s))
}

// at is where the section called name begins in the first file that has it.
func (c *config) at(name string) Place {
	for _, f := range c.read {
		if s := f.section(name); s != nil {
			return s.at
		}
	}
	return Place{}
}
