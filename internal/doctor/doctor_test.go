package doctor

import (
	"slices"
	"testing"
)

func TestParseLogrotate(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"create", "/var/log/a {\n weekly\n create\n}\n", nil},
		{"copytruncate", "weekly\n/var/log/asterisk/messages\n\"/var/log/b c\" /var/log/d*.log {\n copytruncate # yes\n}\n/var/log/e { weekly }\n",
			[]string{"/var/log/asterisk/messages", "/var/log/b", "/var/log/d*.log"}},
		{"on one line", "/var/log/a{copytruncate}", []string{"/var/log/a"}},
		{"for all", "copytruncate\n/var/log/a {\n}\n/var/log/b {\n nocopytruncate\n}\n", []string{"/var/log/a"}},
		{"in a comment", "/var/log/a {\n # copytruncate\n}\n", nil},
	} {
		if got := parseLogrotate(test.text); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}
