package jails

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"xdpban/internal/lazy"
	"xdpban/internal/yamldoc"
)

// A zone is what the dates of a log mean that name no zone.
type zone struct{ *time.Location }

// fixedZone is an offset as fail2ban writes it.
var fixedZone = lazy.Regexp(`^(?:UTC|GMT)([+-])(\d{1,2})(?::?(\d{2}))?$`)

// UnmarshalText reads UTC, UTC+0200, or the name of a zone as Europe/Zurich.
func (z *zone) UnmarshalText(text []byte) (err error) {
	name := string(text)
	if offset := fixedZone.Get().FindStringSubmatch(name); offset != nil {
		z.Location, err = offsetZone(name, offset)
		return err
	}
	if z.Location, err = time.LoadLocation(name); err == nil && name != "" && name != "Local" {
		return nil
	}
	return &yamldoc.Error{
		Msg:  fmt.Sprintf("there is no zone %.60q", name),
		Hint: "write UTC, UTC+0200, or a name like Europe/Zurich; leave it out for local time",
	}
}

// offsetZone is the zone of fixedZone's groups.
func offsetZone(name string, offset []string) (*time.Location, error) {
	hours, _ := strconv.Atoi(offset[2]) // digits, few of them
	minutes, _ := strconv.Atoi(offset[3])
	if hours > 14 || minutes > 59 {
		return nil, errors.New("is further from UTC than any zone")
	}
	seconds := (hours*60 + minutes) * 60
	if offset[1] == "-" {
		seconds = -seconds
	}
	return time.FixedZone(name, seconds), nil
}
