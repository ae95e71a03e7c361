package fail2ban

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// A Note is something that fail2ban's configuration says and ours cannot say, or says
// differently, and what that means.
type Note struct {
	About   string   // as "port", or "jail sshd"
	Meaning string   // in whole sentences
	Where   []string // "file:line: value"; may be empty
}

// A notebook collects notes by what they are about.
type notebook struct {
	dir   string // fail2ban's
	notes []*Note
}

// note adds a place to what is said about something.
func (b *notebook) note(about, meaning string, where ...string) {
	i := slices.IndexFunc(b.notes, func(n *Note) bool { return n.About == about && n.Meaning == meaning })
	if i < 0 {
		b.notes = append(b.notes, &Note{About: about, Meaning: meaning})
		i = len(b.notes) - 1
	}
	b.notes[i].Where = append(b.notes[i].Where, where...)
}

// place is an option where it stands.
func (b *notebook) place(section, option string, value text) string {
	first, _, more := strings.Cut(value.s, "\n")
	if more {
		first += " ..."
	}
	return fmt.Sprintf("%s: [%s] %s = %s", b.at(value.place()), section, option, first)
}

func (b *notebook) at(at Place) string {
	return fmt.Sprintf("%s:%d", strings.TrimPrefix(at.File, filepath.Clean(b.dir)+"/"), at.Line)
}

// withoutCounterpart are options of jails that ours have no key for, and what that means; in the
// order in which they are told.
var withoutCounterpart = []struct{ options, meaning string }{
	{"action banaction banaction_allports action_", "No command is run and no mail is sent. A ban drops every packet of the address in the kernel; see enforce in xdpban.yaml, and xdpban status for what is being done."},
	{"port protocol chain", "A ban drops every packet of the address, whatever port it is for."},
	{"destemail sender mta", "No mail is sent. What is banned stands in the log (logtarget) and in xdpban bans."},
	{"bantime.increment bantime.factor bantime.formula bantime.multipliers bantime.maxtime bantime.rndtime bantime.overalljails", "Bans do not get longer with each time. Instead every packet of a banned address keeps it out for another quiettime, up to maxbantime."},
	{"ignorecommand", "No command is asked whom to spare. List the addresses in ignoreip."},
	{"ignorecache", "No command is asked whom to spare, so that nothing is kept of its answers."},
	{"usedns", "Names are never resolved: DNS belongs to the attacker. Lines that give a name where an address should be are counted and do not ban."},
	{"maxmatches", "Lines are not kept with a ban."},
	{"logencoding", "Lines are bytes; a byte that is not UTF-8 is one character to a regex."},
}

// tellOptions notes what stands in [DEFAULT] and in the jails and has no counterpart.
func (b *notebook) tellOptions(read *config, jails []*Jail) {
	for _, group := range withoutCounterpart {
		for _, option := range strings.Fields(group.options) {
			about := strings.ReplaceAll(group.options, " ", ", ")
			if value, ok := read.defaults.get(option); ok && value.place() != (Place{}) && value.s != "" {
				b.note(about, group.meaning, b.place(defaultSection, option, value))
			}
			for _, j := range jails {
				if value, ok := j.own.get(option); ok && value.s != "" {
					b.note(about, group.meaning, b.place(j.Name, option, value))
				}
			}
		}
	}
}

// listed is how many places of a note are written out.
const listed = 12

// list is all notes as a text for people.
func (b *notebook) list() []byte {
	var out strings.Builder
	fmt.Fprintf(&out, "What %s says and this configuration does not, or says in another way.\n", b.dir)
	for _, n := range b.notes {
		fmt.Fprintf(&out, "\n%s\n", n.About)
		for _, line := range fold(n.Meaning, 96) {
			fmt.Fprintf(&out, "    %s\n", line)
		}
		for i, where := range n.Where {
			if i == listed {
				fmt.Fprintf(&out, "      and at %d more places\n", len(n.Where)-listed)
				break
			}
			fmt.Fprintf(&out, "      %s\n", where)
		}
	}
	return []byte(out.String())
}

// fold breaks text into lines of at most width bytes, if its words let it.
func fold(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, line)
}
