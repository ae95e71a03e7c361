package filter

import "bytes"

var (
	tagEnd   = []byte(": ")
	repeated = []byte("message repeated ")
	times    = []byte(" times: [ ")
)

// unwrap takes off what rsyslog's RepeatedMsgReduction puts around a message that came again:
// "h sshd[1]: message repeated 2 times: [ MESSAGE]". That stands right behind the tag, where
// no client writes; anywhere else it is left alone. However often, it counts once.
func (r *Reader) unwrap(rest []byte) []byte {
	last := len(rest) - 1
	if last < 0 || rest[last] != ']' {
		return rest
	}
	tag := bytes.Index(rest, tagEnd)
	if tag < 0 {
		return rest
	}
	at := tag + len(tagEnd)
	wrapped, ok := bytes.CutPrefix(rest[at:last], repeated)
	if !ok {
		return rest
	}
	message, ok := bytes.CutPrefix(bytes.TrimLeft(wrapped, "0123456789"), times)
	if !ok {
		return rest
	}
	r.rest = append(append(r.rest[:0], rest[:at]...), message...)
	return r.rest
}
