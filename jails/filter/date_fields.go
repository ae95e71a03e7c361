package filter

import (
	"fmt"
	"strings"
	"sync"
)

// Names of the C locale, in small letters.
var (
	months   = []string{"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"}
	weekdays = []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}
)

// Parts of fields.
const (
	digits2    = `[0-9][0-9]`
	looseDay   = `(?P<d>[12][0-9]|[0 ]?[1-9]|3[01])`
	looseMonth = `(?P<m>0?[1-9]|1[0-2])`
	looseHour  = `(?P<H>[01]?[0-9]|2[0-3])`
	minute     = `(?P<M>[0-5]?[0-9])`
	second     = `(?P<S>[0-5]?[0-9]|6[01])`
	week       = `5[0-3]|[0-4][0-9]|[0-9]`
	zoneName   = `[A-Z](?:[A-Z]{2,4})?`
	zoneOffset = `[+-][01][0-9](?::?[0-9]{2})?`
)

// dateFields is what the tags of a datepattern, here without their %, stand for. They are those
// of strptime(3) as fail2ban extends them; a group has the name of what it holds. %ExY is made
// when a pattern is read: see yearExpr.
var dateFields = sync.OnceValue(func() map[string]string {
	return map[string]string{
		"a":   `(?P<a>` + anyName(weekdays, 3) + `)`,
		"A":   `(?P<A>` + anyName(weekdays, 0) + `)`,
		"b":   `(?P<b>` + anyName(months, 3) + `)`,
		"B":   `(?P<B>` + anyName(months, 0) + `)`,
		"d":   looseDay,
		"f":   `(?P<f>[0-9]{1,6})`,
		"G":   `(?P<G>[0-9]{4})`,
		"H":   looseHour,
		"I":   `(?P<I>1[0-2]|0[1-9]|[1-9])`,
		"j":   `(?P<j>36[0-6]|3[0-5][0-9]|[12][0-9][0-9]|0[1-9][0-9]|00[1-9]|[1-9][0-9]|0[1-9]|[1-9])`,
		"k":   ` ?(?P<H>[0-2]?[0-9])`,
		"l":   ` ?(?P<I>1?[0-9])`,
		"m":   looseMonth,
		"M":   minute,
		"p":   `(?P<p>am|pm)`,
		"S":   second,
		"u":   `(?P<u>[1-7])`,
		"U":   `(?P<U>` + week + `)`,
		"V":   `(?P<V>5[0-3]|0[1-9]|[1-4][0-9]|[0-9])`,
		"w":   `(?P<w>[0-6])`,
		"W":   `(?P<W>` + week + `)`,
		"y":   `(?P<y>` + digits2 + `)`,
		"Y":   `(?P<Y>[0-9]{4})`,
		"z":   `(?P<z>Z|UTC|GMT|` + zoneOffset + `)`,
		"Z":   `(?P<Z>Z|[A-Z]{3,5})`,
		"c":   `(?P<a>` + anyName(weekdays, 3) + `)\s+(?P<b>` + anyName(months, 3) + `)\s+` + cDay + `\s+` + cClock + `\s+(?P<Y>[0-9]{4})`,
		"x":   `(?P<m>1[0-2]|0[1-9]|[1-9])/` + cDay + `/(?P<y>` + digits2 + `)`,
		"X":   cClock,
		"Exd": `(?P<d>[12][0-9]|0[1-9]|3[01])`,
		"ExH": `(?P<H>[01][0-9]|2[0-3])`,
		"Exk": ` ?` + looseHour,
		"Exl": ` ?(?P<I>1[0-2]|[0-9])`,
		"Exm": `(?P<m>0[1-9]|1[0-2])`,
		"ExM": `(?P<M>[0-5][0-9])`,
		"ExS": `(?P<S>[0-5][0-9]|6[01])`,
		"Exy": `(?P<y>` + digits2 + `)`,
		"Exz": `(?P<z>(?:` + zoneName + `)?` + zoneOffset + `|` + zoneName + `)`,
		"ExZ": `(?P<Z>` + zoneName + `)`,
		"%":   `%`,
	}
})

// Parts of %c, %x and %X: asctime's order, one and two digits.
const (
	cDay   = `(?P<d>3[01]|[12][0-9]|0[1-9]|[1-9]| [1-9])`
	cClock = `(?P<H>2[0-3]|[01][0-9]|[0-9]):(?P<M>[0-5][0-9]|[0-9]):(?P<S>6[01]|[0-5][0-9]|[0-9])`
)

// inNames are the tags of names: a pattern that has one does not tell case.
const inNames = "aAbBpc"

// anyName is the regex of names, cut to so many letters; 0: whole.
func anyName(names []string, letters int) string {
	cut := make([]string, len(names))
	for i, name := range names {
		if cut[i] = name; letters > 0 {
			cut[i] = name[:letters]
		}
	}
	return strings.Join(cut, "|")
}

// yearExpr is %ExY: a year from 2000 to the end of the decade that is to come in ten years. A
// process that runs for years goes on knowing dates.
func yearExpr(now int) string {
	return fmt.Sprintf(`(?P<Y>20[0-%d][0-9])`, min((now+10)/10%10, 9))
}

// expandFields writes the tags of pattern out as a regex, in the given year. folded: the
// regex does not tell case.
func expandFields(pattern string, year int) (regex string, folded bool, err error) {
	var expr strings.Builder
	for rest := pattern; ; {
		before, after, found := strings.Cut(rest, "%")
		expr.WriteString(before)
		if !found {
			return expr.String(), folded, nil
		}
		tag := tagOf(after)
		field, ok := dateFields()[tag]
		if tag == "ExY" {
			field, ok = yearExpr(year), true
		}
		if !ok {
			return "", false, fmt.Errorf("%.12q is no field of a date: write %%%% for a percent sign", "%"+after)
		}
		expr.WriteString(field)
		folded = folded || len(tag) == 1 && strings.Contains(inNames, tag)
		rest = after[len(tag):]
	}
}

// tagOf is the tag that text begins with, without its %.
func tagOf(text string) string {
	n := 1
	if strings.HasPrefix(text, "Ex") {
		n = len("ExY")
	}
	return text[:min(n, len(text))]
}
