package filter

import (
	"fmt"
	"regexp"
	"strings"

	"xdpban/internal/yamldoc"
)

// The parts of <PREFIX>: what stands between the date, which is cut out already, and the
// message. syslogd -v of the BSDs writes <auth.info> before the host, busybox auth.info behind
// it. A host never ends in a colon, so that the tag of another program, which may quote
// anything in its message, is not taken for a host.
const (
	priority   = `(?:<` + upTo3 + `>)?`
	hostname   = `(?:<[0-9a-z]+\.[0-9a-z]+> )?(?:\S*[^\s:] (?:[a-z]+[0-7]?\.[a-z]+ )?)?`
	directory  = `(?:/[0-9A-Za-z._/-]*/)?`
	anyDaemon  = `[0-9A-Za-z][^\s:()\[\]/]*`
	process    = `(?:\([^\s()]*\))?(?:\[\d+\])?: +`   // sshd(pam_unix)[123]: as PAM once wrote it
	messageID  = `(?:\[ID \d+ [0-9a-z]+\.[a-z]+\] )?` // Solaris
	structured = `(?:-|(?:\[[^\]"]*(?:"(?:[^"\\]|\\.)*"[^\]"]*)*\])+)`
)

// prefixOf is what <PREFIX> stands for: a syslog header of one of the daemons as RFC 3164
// or journalctl writes it; one of RFC 5424; the brackets that a date in brackets leaves
// ("[] "); or nothing at all, for files that the daemon writes itself.
func prefixOf(daemons []yamldoc.Value[string]) (string, yamldoc.Errors) {
	var errs yamldoc.Errors
	var quoted []string
	for i, daemon := range daemons {
		if daemon.V == "" || daemon.V[0] == '/' || strings.ContainsAny(daemon.V, " \t:()[]") {
			errs = append(errs, daemon.Error(fmt.Sprintf("prefix[%d]", i+1),
				fmt.Sprintf("%.60q is not the name of a daemon", daemon.V), ""))
		}
		quoted = append(quoted, regexp.QuoteMeta(daemon.V))
	}
	tag := anyDaemon
	if len(quoted) > 0 {
		tag = `(?:` + strings.Join(quoted, `|`) + `)`
	}
	rfc3164 := priority + ` *` + hostname + directory + tag + process + messageID
	rfc5424 := `(?:<` + upTo3 + `>1 )? *\S*[^\s:] ` + directory + tag + ` (?:\d+|-) \S+ ` + structured + " \ufeff?"
	return `(?:` + rfc3164 + `|` + rfc5424 + `|\[\] +| *)`, errs
}
