package fallback

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"xdpban/internal/ban"
)

// commentMark begins the comments of rules and entries that are bans.
const commentMark = "xdpban,"

// comment is b without its prefix, for people and for the next daemon. It has no character
// that quotes or backslashes would be needed for, and fits into the 255 bytes that the
// kernel keeps.
func comment(b ban.Ban) string {
	var s strings.Builder
	s.WriteString(commentMark)
	s.WriteString("jail=" + escape(b.Jail, 64))
	s.WriteString(",end=" + stamp(b.End))
	s.WriteString(",since=" + stamp(b.Since))
	if !b.Limit.IsZero() {
		s.WriteString(",limit=" + stamp(b.Limit))
	}
	s.WriteString(",quiet=" + strconv.FormatInt(int64((b.Quiet+time.Second-1)/time.Second), 10))
	if b.Hand {
		s.WriteString(",hand")
	}
	if b.Forced {
		s.WriteString(",forced")
	}
	if b.Reason != "" {
		s.WriteString(",reason=")
		s.WriteString(escape(b.Reason, setComment-s.Len()))
	}
	return s.String()
}

// parseComment reads what comment writes. ok is false for anything else.
func parseComment(text string) (b ban.Ban, ok bool) {
	text, ok = strings.CutPrefix(text, commentMark)
	if !ok {
		return b, false
	}
	for field := range strings.SplitSeq(text, ",") {
		key, value, _ := strings.Cut(field, "=")
		switch key {
		case "jail":
			b.Jail = unescape(value)
		case "reason":
			b.Reason = unescape(value)
		case "end":
			b.End, ok = unstamp(value, ok)
		case "since":
			b.Since, ok = unstamp(value, ok)
		case "limit":
			b.Limit, ok = unstamp(value, ok)
		case "quiet":
			seconds, err := strconv.ParseUint(value, 10, 32)
			b.Quiet, ok = time.Duration(seconds)*time.Second, ok && err == nil
		case "hand":
			b.Hand = true
		case "forced":
			b.Forced = true
		}
	}
	return b, ok && !b.End.IsZero()
}

// stampLayout is a time in UTC, to the millisecond, in letters and digits.
const stampLayout = "20060102T150405.000"

func stamp(t time.Time) string { return t.UTC().Format(stampLayout) }

func unstamp(text string, ok bool) (time.Time, bool) {
	t, err := time.Parse(stampLayout, text)
	return t, ok && err == nil
}

// escape writes text in letters, digits and %XX, in at most n bytes, by whole characters.
func escape(text string, n int) string {
	var s strings.Builder
	for _, r := range text {
		next := url.QueryEscape(string(r))
		if s.Len()+len(next) > n {
			break
		}
		s.WriteString(next)
	}
	return s.String()
}

func unescape(text string) string {
	s, err := url.QueryUnescape(text)
	if err != nil {
		return ""
	}
	return s
}
