package fail2ban

import (
	"fmt"
	"strconv"
	"strings"

	"xdpban/internal/lazy"
)

// Units of fail2ban's times in seconds; its year has 365.25 days, and a month is a twelfth.
const (
	minute = 60
	hour   = 60 * minute
	day    = 24 * hour
	year   = 365.25 * day
)

var timeUnits = []struct {
	names  *lazy.Pattern
	factor float64
}{
	{lazy.Regexp(`^$|^s(s|ec|econds?)?$`), 1},
	{lazy.Regexp(`^m(m|in|inutes?)?$`), minute},
	{lazy.Regexp(`^h(h|ou|ours?)?$`), hour},
	{lazy.Regexp(`^d(d|a|ays?)?$`), day},
	{lazy.Regexp(`^w(w|ee|eeks?)?$`), 7 * day},
	{lazy.Regexp(`^mo(n|nths?)?$`), year / 12},
	{lazy.Regexp(`^y(y|ea|ears?)?$`), year},
}

// timePart is an operator, a number and its unit.
var timePart = lazy.Regexp(`^\s*([-+*/]?)\s*(\d{1,12}(?:\.\d{1,9})?)\s*([a-z]*)\s*`)

// seconds is a time as fail2ban takes it: 600, 1d12h, 1h 30m, 60*60, 1year-6mo, -1.
func seconds(text string) (float64, error) {
	rest := strings.ToLower(trim(text))
	if rest == "" {
		return 0, fmt.Errorf("want a time, got %q", text)
	}
	var sum, product float64
	for rest != "" {
		m := timePart.Get().FindStringSubmatch(rest)
		if m == nil {
			return 0, fmt.Errorf("want a time, got %.60q", text)
		}
		value, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return 0, fmt.Errorf("want a time, got %.60q", text)
		}
		factor, ok := unit(m[3])
		if !ok {
			return 0, fmt.Errorf("no unit of time is called %.60q", m[3])
		}
		value *= factor
		switch m[1] {
		case "*":
			product *= value
		case "/":
			product /= value
		case "-":
			sum, product = sum+product, -value
		default:
			sum, product = sum+product, value
		}
		rest = rest[len(m[0]):]
	}
	return sum + product, nil
}

func unit(name string) (factor float64, ok bool) {
	for _, u := range timeUnits {
		if u.names.Get().MatchString(name) {
			return u.factor, true
		}
	}
	return 0, false
}
