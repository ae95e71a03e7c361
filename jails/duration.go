package jails

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"xdpban/internal/lazy"
	"xdpban/internal/yamldoc"
)

const (
	day  = 24 * time.Hour
	year = 365*day + 6*time.Hour

	// MaxTime is the longest time that a configuration or an operator can give.
	MaxTime time.Duration = 10 * year
)

// units are those of fail2ban, whose year has 365.25 days and whose month is a twelfth of it.
var units = []struct {
	names string
	unit  time.Duration
}{
	{"|s|ss|sec|secs|second|seconds|", time.Second},
	{"|m|mm|min|mins|minute|minutes|", time.Minute},
	{"|h|hh|hour|hours|", time.Hour},
	{"|d|dd|day|days|", day},
	{"|w|ww|week|weeks|", 7 * day},
	{"|mo|mon|month|months|", year / 12},
	{"|y|yy|year|years|", year},
}

// A duration is a time as users write it: seconds, or numbers with units.
type duration time.Duration

var (
	oneDuration  = lazy.Regexp(`^(\d{1,12}) *([a-z]*) *`)
	durationHelp = "write seconds, or numbers with units: 43200, 12h, 1d12h, 2w"
)

// UnmarshalText reads what fail2ban reads, apart from fractions, arithmetic and -1.
func (d *duration) UnmarshalText(text []byte) error {
	t, err := ParseDuration(string(text))
	*d = duration(t)
	return err
}

// ParseDuration reads a time as the configuration writes it: 43200, 12h, 1d12h, "1 week".
// It is never negative and at most MaxTime. The error is a *yamldoc.Error with a hint.
func ParseDuration(text string) (time.Duration, error) {
	rest := strings.ToLower(strings.TrimSpace(text))
	if strings.HasPrefix(rest, "-") {
		return 0, &yamldoc.Error{Msg: fmt.Sprintf("want a time, got %.60q", text), Hint: "nothing is banned without end; the longest is 10y"}
	}
	if rest == "" {
		return 0, &yamldoc.Error{Msg: `want a time, got ""`, Hint: durationHelp}
	}
	var sum time.Duration
	for rest != "" {
		m := oneDuration.Get().FindStringSubmatch(rest)
		if m == nil {
			return 0, &yamldoc.Error{Msg: fmt.Sprintf("want a time, got %.60q", text), Hint: durationHelp}
		}
		unit, ok := unitOf(m[2])
		if !ok {
			return 0, &yamldoc.Error{Msg: fmt.Sprintf("no unit of time is called %.60q", m[2]), Hint: "s, m, h, d, w, mo (month), y"}
		}
		number, _ := strconv.ParseInt(m[1], 10, 64) // twelve digits always fit
		if number > int64((MaxTime-sum)/unit) {
			return 0, &yamldoc.Error{Msg: fmt.Sprintf("%.60q is too long", text), Hint: "the longest time is 10y"}
		}
		sum += time.Duration(number) * unit
		rest = rest[len(m[0]):]
	}
	return sum, nil
}

func unitOf(name string) (time.Duration, bool) {
	if name == "" {
		return time.Second, true
	}
	for _, u := range units {
		if strings.Contains(u.names, "|"+name+"|") {
			return u.unit, true
		}
	}
	return 0, false
}

// FormatDuration writes whole seconds so that ParseDuration reads them again: 1d12h.
func FormatDuration(d time.Duration) string {
	var b strings.Builder
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := d / u.unit; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			d -= n * u.unit
		}
	}
	if b.Len() == 0 {
		return "0"
	}
	return b.String()
}
