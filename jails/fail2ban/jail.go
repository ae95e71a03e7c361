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
	Err     error // a yamldoc.Errors: what is wrong with it; Filter is nil then

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
// every jail, enabled or not. The order is that of the files. A jail in error is among them; the
// error of Jails, a yamldoc.Errors, is one of the files.
func (c *Config) Jails() ([]*Jail, error) {
	read, err := c.jailFiles()
	if err != nil {
		return nil, err
	}
	var jails []*Jail
	for _, name := range slices.Clone(read.order) {
		if name != "INCLUDES" {
			jails = append(jails, c.jail(read, name))
		}
	}
	return jails, nil
}

// jailFiles reads the files of jails.
func (c *Config) jailFiles() (*config, error) {
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
	return read, nil
}

// errorsOf is err as the Errors that it is, or as one.
func errorsOf(err error) yamldoc.Errors {
	var errs yamldoc.Errors
	if err != nil && !errors.As(err, &errs) {
		errs = yamldoc.Errors{{Msg: err.Error()}}
	}
	return errs
}

// inJail is err as errors of a jail.
func inJail(name string, err error) yamldoc.Errors {
	errs := errorsOf(err)
	for _, e := range errs {
		e.Jail, e.Key = name, strings.TrimPrefix(e.Key, key(name, ""))
	}
	return errs
}

func (c *Config) jail(read *config, name string) *Jail {
	j := &Jail{Name: name, At: read.at(name), config: read, own: read.sections[name].clone()}
	if err := c.fillIn(j); err != nil {
		j.Filter, j.Err = nil, inJail(name, err)
	}
	return j
}

// fillIn reads the options of j and its filter.
func (c *Config) fillIn(j *Jail) (err error) {
	j.options, err = j.read("enabled", "backend", "filter")
	j.Enabled, j.Backend, j.Spec = truth(one(j.options, "enabled").Text), one(j.options, "backend").Text, one(j.options, "filter")
	if err != nil {
		return err
	}
	var d *definition
	if j.Spec.Text != "" {
		if d, err = c.of(j); err != nil {
			return err
		}
	}
	if j.options, err = j.read(jailOptions...); err != nil {
		return err
	}
	if d == nil {
		j.Filter, err = finish(j.Name, j.options)
		return err
	}
	if err := d.readOptions(j.options, false); err != nil {
		return err
	}
	values, err := d.combined()
	if err != nil {
		return err
	}
	j.Filter, err = finish(d.name, j.over(values))
	return err
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
	d.logtype(j.journal() && !c.followFiles)
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

// journal reports whether j reads the journal.
func (j *Jail) journal() bool { return strings.HasPrefix(j.Backend, "systemd") }

// placed gives errors that stand in no line the place at, with the file that they are about.
func placed(err error, at Place) error {
	if err == nil {
		return nil
	}
	errs := errorsOf(err)
	for _, e := range errs {
		if e.Line > 0 {
			continue
		}
		if e.File != "" {
			e.Msg = e.File + ": " + e.Msg
		}
		e.File, e.Line = at.File, at.Line
	}
	return errs
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
