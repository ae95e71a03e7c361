package filter

import "testing"

func TestRepeatedMessagesAreUnwrapped(t *testing.T) {
	const regex = `^<PREFIX>(?:bad \S+|message repeated \d+ times: \[ .*|no: message repeated \d+ times: \[ .*) from <HOST>\]?$`
	tests := map[string]string{
		"Nov  9 10:00:00 h app[1]: message repeated 2 times: [ bad bob from 192.0.2.7]":        "192.0.2.7",
		"[Nov  9 10:00:00] app: message repeated 12 times: [ bad bob from 192.0.2.7]":          "192.0.2.7",
		"<34>Nov  9 10:00:00 app: message repeated 12 times: [ bad bob from 192.0.2.7]":        "192.0.2.7",
		"h app: message repeated 2 times: [ bad message repeated 2 times: [ x from 192.0.2.7]": "none",
		"h app: message repeated 2 times: [ bad x]y from 192.0.2.7]":                           "192.0.2.7",
		"h app: no: message repeated 2 times: [ bad x from 192.0.2.7]":                         "192.0.2.7", // as written
		"h app: message repeated x times: [ bad x from 192.0.2.7]":                             "none",
		"message repeated 2 times: [ bad x from 192.0.2.7]":                                    "192.0.2.7", // no tag: as written
		"]":   "none",
		": ]": "none",
	}
	for line, want := range tests {
		if got := found(t, regex, line); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

// What a client writes behind the tag must not have the end of its line taken off.
func TestClientsCannotHaveTheirLinesUnwrapped(t *testing.T) {
	line := "h sshd[1]: Invalid user x: message repeated 2 times: [ y from 192.0.2.7 port 4242 [preauth]"
	if got := found(t, `^<PREFIX>Invalid user .* from <HOST> port \d+ \[preauth\]$`, line); got != "192.0.2.7" {
		t.Errorf("got %q", got)
	}
}
