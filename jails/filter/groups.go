package filter

import "slices"

// A group is a named group of a regex, or several of one name: of these the first that takes part counts.
type group struct {
	name string
	at   []int // by number
	kept bool  // see isKept
}

// groups are the named groups of a regex, in order.
type groups struct {
	all      []group
	content  int   // index of what prefregex leaves for rules; -1: there is none
	identity []int // indices of those that say who it was
	host     int   // index of hostGroup; -1: there is none
	complex  bool  // some belong to others by their names: see complexName
}

// groupsOf makes groups of names by number; "" has none.
func groupsOf(names []string, d Dialect) *groups {
	g := &groups{content: -1, host: -1}
	for number, name := range names {
		if name == "" {
			continue
		}
		if i := g.index(name); i >= 0 {
			g.all[i].at = append(g.all[i].at, number)
			continue
		}
		g.all = append(g.all, group{name: name, at: []int{number}, kept: isKept(name)})
	}
	g.content, g.host = g.index(contentGroup), g.index(hostGroup)
	for i := range g.all {
		if slices.Contains(d.identities(), g.all[i].name) {
			g.identity = append(g.identity, i)
		}
		if kind, _ := complexName(g.all[i].name); kind != "" {
			g.complex = true
		}
	}
	return g
}

// index is where the group called name is in g.all; -1: there is none.
func (g *groups) index(name string) int {
	return slices.IndexFunc(g.all, func(have group) bool { return have.name == name })
}
