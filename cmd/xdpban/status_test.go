package main

import (
	"testing"

	"xdpban/internal/control"
)

func TestLagOfLogs(t *testing.T) {
	absent := control.Log{Path: "/nowhere", Problem: "no such file"}
	for _, c := range []struct {
		logs []control.Log
		want string
	}{
		{nil, "none"},
		{[]control.Log{{Path: "/log"}}, "none"},
		{[]control.Log{{Path: "/log", Lag: 1000}, {Path: "/other", Lag: 1000}}, "2.0 kB"},
		{[]control.Log{absent}, "see: /nowhere: no such file"},
		{[]control.Log{absent, absent}, "see: /nowhere: no such file"},
		{[]control.Log{{Path: "/log"}, absent}, "none (1 of 2 logs not read)"},
		{[]control.Log{absent, {Path: "/log", Lag: 1000}}, "1.0 kB (1 of 2 logs not read)"},
		{[]control.Log{{Path: "/log"}, {Path: "/was", Lines: 7, Problem: "permission denied"}}, "see: /was: permission denied"},
	} {
		if got := lag(c.logs); got != c.want {
			t.Errorf("%+v: got %q, want %q", c.logs, got, c.want)
		}
	}
}
