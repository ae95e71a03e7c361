package fail2ban

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"xdpban/internal/lazy"
	"xdpban/internal/yamldoc"
	"xdpban/jails"
)

// ruleNames are the options that jails and [DEFAULT] have in common with ours, as we call
// them and in the order in which they are written.
var ruleNames = []string{"bantime", "findtime", "maxretry", "ignoreip"}

// What our keys may be.
const (
	longest    = "10y"
	mostRetry  = 1000
	leastBan   = time.Second
	recognised = "They are changed to what a key may be."
)

// rule writes one of ruleNames.
func (i *importer) rule(out *page, indent int, section, name string, value text) error {
	switch name {
	case "ignoreip":
		i.ignoreIP(out, indent, section, value)
		return nil
	case "maxretry":
		n, err := strconv.Atoi(trim(value.s))
		if err != nil {
			return wrongValue(section, name, value, fmt.Sprintf("want a number, got %.60q", value.s))
		}
		if within := min(max(n, 1), mostRetry); within != n {
			i.notes.note("values that cannot be", recognised, i.notes.place(section, name, value)+" is "+strconv.Itoa(within))
			n = within
		}
		out.line(indent, fmt.Sprintf("maxretry: %d", n))
		return nil
	}
	written, err := i.time(section, name, value)
	if err != nil {
		return wrongValue(section, name, value, err.Error())
	}
	out.line(indent, name+": "+written)
	return nil
}

func wrongValue(section, name string, value text, msg string) error {
	at := value.place()
	return yamldoc.Errors{{File: at.File, Line: at.Line, Key: key(section, name), Msg: msg}}
}

// time is a time as it is written, where it can be, or as we write it.
func (i *importer) time(section, name string, value text) (string, error) {
	s, err := seconds(value.s)
	if err != nil {
		return "", err
	}
	if s < 0 && name == "bantime" {
		i.notes.note("bans without end", "The longest ban is "+longest+".", i.notes.place(section, name, value))
		return longest, nil
	}
	d := whole(s)
	if math.Abs(d.Seconds()-s) >= 1 {
		i.notes.note("values that cannot be", recognised, i.notes.place(section, name, value)+" is "+jails.FormatDuration(d))
	}
	return spelled(d, value), nil
}

// spelled is d as value says it, where we read that as d too.
func spelled(d time.Duration, value text) string {
	if same, err := jails.ParseDuration(value.s); err == nil && same == d && !strings.ContainsAny(value.s, " \n") {
		return trim(value.s)
	}
	return jails.FormatDuration(d)
}

// whole are s seconds as one of our times.
func whole(s float64) time.Duration {
	return time.Duration(math.Ceil(min(max(s, leastBan.Seconds()), jails.MaxTime.Seconds()))) * time.Second
}

// banLimit has a bantime of more than a day last that long, as the rules of fail2ban's filters say
// nothing of trust.
func (i *importer) banLimit(out *page, indent int, j *Jail) {
	value, ok := j.options.get("bantime")
	if !ok {
		return
	}
	s, err := seconds(value.s)
	if err != nil || s >= 0 && s <= jails.SpoofedMax.Seconds() {
		return
	}
	limit := longest
	if s >= 0 {
		limit = spelled(whole(s), value)
	}
	out.line(indent, "maxbantime: "+limit)
	i.notes.note("bans of more than a day", "Rules that do not say how far an address can be trusted ban for 24h at most here, unless the jail has a maxbantime. These have one, so that they ban for as long as in fail2ban.", i.notes.at(value.place())+": ["+j.Name+"] "+limit)
}

var between = lazy.Regexp(`[ ,\n]+`)

// ignoreIP writes the addresses and prefixes of an ignoreip and notes the names in it.
func (i *importer) ignoreIP(out *page, indent int, section string, value text) {
	var list []string
	for _, word := range between.Get().Split(value.s, -1) {
		word = trim(word)
		if word == "" {
			continue
		}
		if prefix, ok := address(word); ok {
			list = append(list, prefix)
			continue
		}
		i.notes.note("names in ignoreip", "Names are never resolved. Write the addresses instead.", i.notes.at(value.place())+": ["+section+"] "+word)
	}
	if section != defaultSection {
		i.notes.note("ignoreip of jails", "It adds to the one of defaults; fail2ban puts it in its place.", i.notes.place(section, "ignoreip", value))
	}
	if len(list) > 0 {
		out.list(indent, "ignoreip", list)
	}
}

// address is word as a prefix that we read; a mask like /255.255.255.0 becomes its length.
func address(word string) (string, bool) {
	if _, err := netip.ParseAddr(word); err == nil {
		return word, !strings.Contains(word, "%")
	}
	if _, err := netip.ParsePrefix(word); err == nil {
		return word, true
	}
	host, mask, _ := strings.Cut(word, "/")
	if ip := net.ParseIP(mask).To4(); ip != nil {
		bits, size := net.IPMask(ip).Size()
		if _, err := netip.ParseAddr(host); err == nil && size == 32 {
			return fmt.Sprintf("%s/%d", host, bits), true
		}
	}
	return "", false
}

// offset is a time zone as fail2ban takes it, without those that it has names for.
var offset = lazy.Regexp(`^(?:UTC|GMT|Z)?(?:([+-]\d\d)(?::?(\d\d))?)?$`)

// zone writes the zone of dates that name none. What [DEFAULT] says of it goes into every jail.
func (i *importer) zone(out *page, indent int, j *Jail) {
	value, ok := j.options.get("logtimezone")
	if !ok || value.s == "" {
		return
	}
	m := offset.Get().FindStringSubmatch(value.s)
	if m == nil {
		i.notes.note("logtimezone", "What the name of a zone stands for is not taken over: until you write an offset, as UTC+0100, or a place, as Europe/Zurich, dates that name no zone are local.", i.notes.place(j.Name, "logtimezone", value))
		return
	}
	zone := "UTC"
	if m[1] != "" {
		zone += m[1] + (m[2] + "00")[:2]
	}
	out.comment(indent, j.comment("logtimezone"))
	out.line(indent, "logtimezone: "+zone)
}

// logpath are the files of j, as we write them; others are noted.
func (i *importer) logpath(j *Jail) []string {
	value, _ := j.options.get("logpath")
	for _, line := range value.lines() {
		if _, behind := splitPath(line.Text); behind != "" && behind != "head" && behind != "tail" {
			i.notes.note("what stands behind a path", "fail2ban takes no notice of it, and so it is left out: each path has a line of its own.", i.notes.at(line.Place)+": ["+j.Name+"] "+behind)
		}
	}
	var list []string
	for _, path := range i.paths(j) {
		bad, _ := jails.BadLogpath(path)
		switch {
		case !strings.HasPrefix(path, "/"):
			i.notes.note("relative paths", "A logpath begins with /. They are left out.", i.notes.at(j.At)+": ["+j.Name+"] "+path)
		case bad != "":
			i.notes.note("paths that cannot be followed", "They are left out. One line of a logpath is one path, and head or tail behind it.", i.notes.at(j.At)+": ["+j.Name+"] "+bad)
		default:
			list = append(list, path)
		}
	}
	return list
}

// paths are what the logpath of j names, one a line, without the word head or tail that may
// follow. A set of characters that are not meant is [^...] here.
func (i *importer) paths(j *Jail) []string {
	value, _ := j.options.get("logpath")
	var list []string
	for _, line := range value.lines() {
		if path, _ := splitPath(line.Text); path != "" {
			list = append(list, strings.ReplaceAll(path, "[!", "[^"))
		}
	}
	return list
}

// splitPath separates a path from the last word behind it.
func splitPath(line string) (path, behind string) {
	path = trim(line)
	if at := strings.LastIndexByte(path, ' '); at >= 0 {
		path, behind = trim(path[:at]), path[at+1:]
	}
	return path, behind
}
