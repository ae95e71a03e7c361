package filter

import (
	"strings"
	"sync"
	"time"
)

// Parts of the dates below.
const (
	clock   = `%H:%M:%S`
	asctime = `(?:%a )?%b %d %k:%M:%S(?:\.%f)?(?: %ExY)?`
)

// defaults are the ways of writing dates that fail2ban knows, in its order; 1.1.1 has widened one of 1.0.2's.
var defaults = []struct{ name, pattern string }{
	{"Year-Month-Day[T ]Hour:Minute:Second[.Fraction][Zone]", `%ExY(?P<by>[-./])%m(?P=by)%d(?:T| {1,2})` + clock + `(?:[,.]%f)?(?:\s*%z)?`},
	{"[DAY ]MON Day Hour:Minute:Second[.Fraction][ Year]", asctime},
	{"[DAY ]MON Day Year Hour:Minute:Second[.Fraction]", `(?:%a )?%b %d %ExY %k:%M:%S(?:\.%f)?`},
	{"Day/Month/Year Hour:Minute:Second", `%d(?P<by>[-/])%m(?P=by)(?:%ExY|%Exy) %k:%M:%S`},
	{"Day/MON/Year:Hour:Minute:Second[.Fraction][ Zone]", `%d(?P<by>[-/])%b(?P=by)%ExY[: ]?` + clock + `(?:\.%f)?(?: %z)?`},
	{"Month/Day/Year:Hour:Minute:Second", `%m/%d/%ExY:` + clock},
	{"Month-Day-Year Hour:Minute:Second[.Fraction]", `%m-%d-%ExY %k:%M:%S(?:\.%f)?`},
	{"Epoch", `EPOCH`},
	{markLine + "Hour:Minute:Second", markLine + clock},
	{"^<Month/Day/Year2@Hour:Minute:Second>", `^<%m/%d/%Exy@` + clock + `>`},
	{"Year2MonthDay Hour:Minute:Second", `%Exy%Exm%Exd {1,2}` + clock},
	{"MON Day, Year 12hour:Minute:Second AMPM", `%b %d, %ExY %I:%M:%S %p`},
	{"^MON-Day-Year2 Hour:Minute:Second", `^%b-%d-%Exy %k:%M:%S`},
	{"YearMonthDay[-T ]Hour[:]Minute[:]Second[.Fraction][Zone]", `%ExY%Exm%Exd(?:-|T| {1,2})%ExH:?%ExM:?%ExS(?:[,.]%f)?(?:\s*%z)?`},
	{"[Zone name ][DAY ]MON Day Hour:Minute:Second[.Fraction][ Year]", `(?:%Z )?` + asctime},
	{"[Zone ][DAY ]MON Day Hour:Minute:Second[.Fraction][ Year]", `(?:%z )?` + asctime},
	{"TAI64N", `TAI64N`},
}

// preferred is how much more a default counts at the start of a line.
const preferred = 100

// defaultTemplates are the defaults of a dialect: those that could stand anywhere first as
// they stand at the start of a line, then all as they are.
func defaultTemplates(d Dialect) []*template { return knownDefaults[d]() }

var knownDefaults = [...]func() []*template{
	Native:   sync.OnceValue(func() []*template { return makeDefaults(Native) }),
	Fail2ban: sync.OnceValue(func() []*template { return makeDefaults(Fail2ban) }),
}

func makeDefaults(d Dialect) []*template {
	var atStart, all []*template
	make := func(pattern, name string) *template {
		t, err := lazyTemplate(pattern, d, time.Now().Year())
		if err != nil {
			panic("date " + name + ": " + err.Error()) // the table above is wrong
		}
		t.name = name
		return t
	}
	for _, known := range defaults {
		all = append(all, make(known.pattern, known.name))
		if strings.HasPrefix(known.pattern, markLine) || strings.HasPrefix(known.pattern, "^") {
			continue
		}
		t := make(markLine+known.pattern, markLine+known.name)
		t.weight = preferred
		atStart = append(atStart, t)
	}
	return append(atStart, all...)
}
