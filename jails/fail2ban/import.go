package fail2ban

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"xdpban/internal/lazy"
	"xdpban/internal/yamldoc"
	"xdpban/jails/filter"
)

// A File is one that an import writes.
type File struct {
	Name string // below the directory that is written to
	Data []byte
}

// An Imported is a configuration of fail2ban's as ours.
type Imported struct {
	Files    []File // the configuration, its filters, and the list of what has no counterpart
	List     []byte // the last of them
	Jails    int
	Enabled  []string // jails that are on
	LeftOut  []string // jails that are off and in error
	Switched []string // jails that were on and are off
	Journal  []string // jails that are on and read the journal in fail2ban
}

// Names of what an import writes beside filters/*.yaml.
const (
	MainFile = "xdpban.yaml"
	ListFile = "not-imported.txt"
)

// Import makes our configuration of fail2ban's in dir. shipped are the names of filters that
// come with xdpban. A jail in error is left out where it is off; where it is on, its error is
// one of Import, a yamldoc.Errors.
func Import(dir string, shipped []string) (*Imported, error) {
	c := Open(dir)
	c.followFiles = true
	found, err := c.Jails()
	if err != nil {
		return nil, err
	}
	i := importer{pages: pages{config: c}, notes: notebook{dir: c.dir}, shipped: shipped, used: make(map[string]bool)}
	good, err := i.sort(found)
	if err != nil {
		return nil, err
	}
	read, err := c.jailFiles() // once more: what filters made known is not in it
	if err != nil {
		return nil, err
	}
	var main page
	main.comment(0, []string{" Imported from fail2ban's configuration in " + c.dir + ".", " What has no counterpart here stands in " + ListFile + ". xdpban check says whether all is well."})
	errs := errorsOf(i.defaults(&main, read))
	main.gap()
	if len(good) == 0 {
		main.line(0, "jails: {}")
	} else {
		main.line(0, "jails:")
	}
	for _, j := range good {
		if err := i.jail(&main, j); err != nil {
			errs = append(errs, inJail(j.Name, err)...)
		}
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	i.tell(read, good)
	return i.finish(main.String(), len(good)), nil
}

// An importer goes through the jails and keeps what they lead to.
type importer struct {
	pages   pages
	notes   notebook
	shipped []string
	used    map[string]bool // names of jails
	ours    []string        // filters that are among shipped, and whose
	done    Imported
}

// sort separates jails that can be had from those in error.
func (i *importer) sort(found []*Jail) (good []*Jail, err error) {
	var errs yamldoc.Errors
	for _, j := range found {
		if j.Err == nil {
			_, err := j.Filter.Compile()
			j.Err = placed(err, j.At)
		}
		switch {
		case j.Err == nil:
			good = append(good, j)
		case j.Enabled:
			errs = append(errs, inJail(j.Name, j.Err)...)
		default:
			i.done.LeftOut = append(i.done.LeftOut, j.Name)
			i.notes.note("jails in error", "They are off, and left out.", strings.Split(inJail(j.Name, j.Err).Error(), "\n")...)
		}
	}
	return good, errs.Err()
}

// finish puts the files together.
func (i *importer) finish(main string, jails int) *Imported {
	i.done.Jails, i.done.List = jails, i.notes.list()
	i.done.Files = append(i.done.Files, File{MainFile, []byte(main)})
	for _, p := range i.pages.list {
		i.done.Files = append(i.done.Files, File{filepath.Join("filters", p.name+".yaml"), p.write(i.notes.dir)})
	}
	i.done.Files = append(i.done.Files, File{ListFile, i.done.List})
	return &i.done
}

// usual is what fail2ban does where no file says anything.
var usual = map[string]string{"bantime": "10m", "findtime": "10m", "maxretry": "3"}

// defaults writes what [DEFAULT] says to all jails.
func (i *importer) defaults(out *page, read *config) error {
	out.gap()
	out.line(0, "defaults:")
	var errs yamldoc.Errors
	for _, name := range ruleNames {
		value, err := read.get(defaultSection, name, nil)
		switch {
		case absent(err) && usual[name] != "":
			out.line(2, name+": "+usual[name])
			continue
		case absent(err):
			continue
		case err != nil:
			errs = append(errs, errorsOf(err)...)
			continue
		}
		out.comment(2, read.above(value.place()))
		errs = append(errs, errorsOf(i.rule(out, 2, defaultSection, name, value))...)
	}
	return errs.Err()
}

// letsIn are actions that let an address in where others keep it out.
var letsIn = lazy.Regexp(`(?i)blocktype\s*=\s*["']?(RETURN|ACCEPT)\b`)

// jail writes one jail.
func (i *importer) jail(out *page, j *Jail) error {
	p, mode, err := i.pages.page(j)
	if err != nil {
		return err
	}
	paths := i.logpath(j)
	on := j.Enabled && i.mayRun(j, paths)
	i.done.count(j, on)
	if len(paths) == 0 {
		paths = []string{"/var/log/" + fileName(j.Name) + ".log"}
	}
	out.gap()
	out.comment(2, j.config.around(j.Name))
	out.line(2, quote(i.name(j))+":")
	out.line(4, fmt.Sprintf("enabled: %t", on))
	out.comment(4, j.comment("filter"))
	out.line(4, "filter: "+quote(filter.WithMode(p.name, mode)))
	out.comment(4, j.comment("logpath"))
	out.list(4, "logpath", paths)
	var errs yamldoc.Errors
	for _, name := range ruleNames {
		value, ok := j.options.get(name)
		if !ok || !j.own.has(name) {
			continue
		}
		out.comment(4, j.comment(name))
		errs = append(errs, errorsOf(i.rule(out, 4, j.Name, name, value))...)
	}
	i.banLimit(out, 4, j)
	i.zone(out, 4, j)
	if slices.Contains(i.shipped, p.name) {
		i.ours = append(i.ours, "filters/"+p.name+".yaml: ["+j.Name+"]")
	}
	return errs.Err()
}

// count notes what became of j.
func (d *Imported) count(j *Jail, on bool) {
	switch {
	case on:
		d.Enabled = append(d.Enabled, j.Name)
		if j.journal() {
			d.Journal = append(d.Journal, j.Name)
		}
	case j.Enabled:
		d.Switched = append(d.Switched, j.Name)
	}
}

// mayRun reports whether j does in our hands what it does in fail2ban's, and notes why not.
func (i *importer) mayRun(j *Jail, paths []string) bool {
	action, _ := j.options.get("action")
	switch {
	case letsIn.Get().MatchString(action.s):
		i.notes.note("jails that let in", "Their action lets the address in; here it would be kept out. They are off.", i.notes.at(j.At)+": ["+j.Name+"]")
		return false
	case len(paths) == 0:
		i.notes.note("jails without a logpath", "A jail follows files. They are off, with a logpath that is made up, until you name one.", i.notes.at(j.At)+": ["+j.Name+"]")
		return false
	}
	return true
}

// name is what j is called here.
func (i *importer) name(j *Jail) string {
	name := fileName(j.Name)
	if len(name) > 64 || name == "manual" {
		name = "jail-" + name[:min(len(name), 50)]
	}
	for base, n := name, 2; i.used[name]; n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	i.used[name] = true
	if name != j.Name {
		i.notes.note("names of jails", "They have letters, digits and . _ - only.", i.notes.at(j.At)+": ["+j.Name+"] is "+name)
	}
	return name
}

// comment is what stands above an option in the section of j. What stands above the first
// of all is about j.
func (j *Jail) comment(option string) []string {
	value, ok := j.own.get(option)
	if !ok {
		return nil
	}
	at := value.place()
	f := j.config.fileOf(at)
	if s := f.section(j.Name); s != nil {
		if _, first := f.below(s.at.Line); first == at.Line {
			return f.beside(at.Line)
		}
	}
	return j.config.above(at)
}

// around are the comments above the heads of a section and directly below them.
func (c *config) around(name string) []string {
	var lines []string
	for _, f := range c.read {
		if s := f.section(name); s != nil {
			below, _ := f.below(s.at.Line)
			lines = slices.Concat(lines, f.before(s.at.Line), below)
		}
	}
	return lines
}

// tell notes what is said of other things.
func (i *importer) tell(read *config, jails []*Jail) {
	i.notes.tellOptions(read, jails)
	for _, j := range jails {
		if j.journal() {
			i.notes.note("backend = systemd", "The journal is not followed yet: these jails follow the files of their logpath. They see nothing unless rsyslog writes what is in the journal into these files. A journalmatch is kept, and does nothing.", i.notes.at(j.At)+": ["+j.Name+"] logpath = "+strings.Join(i.paths(j), " "))
		}
		if slices.ContainsFunc(i.paths(j), func(path string) bool { return filepath.Base(path) == "fail2ban.log" }) {
			i.notes.note("fail2ban's own log", "fail2ban writes it, and xdpban does not. Let such a jail follow what xdpban logs, with a filter for that.", i.notes.at(j.At)+": ["+j.Name+"]")
		}
		if value, ok := j.options.get("ignoreself"); ok && !truth(value.s) {
			i.notes.note("ignoreself", "The host's own addresses are never banned, by no jail.", i.notes.place(j.Name, "ignoreself", value))
		}
	}
	if files := filesOf(filepath.Join(i.notes.dir, "fail2ban")); len(files) > 0 {
		i.notes.note("fail2ban.conf", "loglevel, logtarget, socket and the database are not taken over: see the keys of these names, and state, in the reference of xdpban.yaml.", files...)
	}
	if len(i.ours) > 0 {
		i.notes.note("filters that xdpban has too", "The imported one is used, so that the same lines are found as before. Ours says of each rule whether a client can forge the address, and brings samples: to use it, delete the file.", i.ours...)
	}
	i.notes.note("quiettime", "This is new: every packet of a banned address keeps it out for another hour. To have bans end when fail2ban's would, write quiettime: 0 below defaults.")
}
