package fail2ban

import (
	"fmt"
	"strings"

	"xdpban/internal/lazy"
)

var (
	nameWithOptions = lazy.Regexp(`(?s)^([^\[]+)(?:\[(.*)\])?\s*$`)
	// One option: name=value, name="value" or name='value'; options are separated by
	// a comma or by ][.
	oneOption = lazy.Regexp(`(?s)^[\s\x1c-\x1f]*([\w\-.]+)=(?:"([^"]*)"|'([^']*)'|([^,\]]*))(?:,|\]\s*\[|$|(.+))`)
	noOption  = lazy.Regexp(`(?s)^,?[\s\x1c-\x1f]*$`)
)

// splitSpec splits what a jail says of its filter: sshd[mode=aggressive, logtype="file"].
func splitSpec(spec string) (name string, given *options, err error) {
	m := nameWithOptions.Get().FindStringSubmatch(spec)
	if m == nil {
		return "", nil, fmt.Errorf("want a name, or name[option=value, ...], got %.60q", spec)
	}
	given = new(options)
	for rest := m[2]; rest != ""; {
		if noOption.Get().MatchString(rest) {
			break
		}
		o := oneOption.Get().FindStringSubmatch(rest)
		if o == nil || o[5] != "" {
			return "", nil, fmt.Errorf("want option=value, got %.60q", rest)
		}
		given.set(o[1], said(trim(o[2]+o[3]+o[4])))
		rest = strings.TrimPrefix(rest, o[0])
	}
	return m[1], given, nil
}
