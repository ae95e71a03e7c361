package main

import (
	"errors"
	"os"

	"xdpban/internal/control"
	"xdpban/internal/daemon"
	"xdpban/internal/lock"
)

// explain finds the exit code and the next step for err.
func explain(err error) *failure {
	var known *failure
	if errors.As(err, &known) {
		return known
	}
	var answer *control.Error
	if errors.As(err, &answer) {
		return &failure{codes[answer.Kind], answer, answer.Hint}
	}
	switch {
	case errors.Is(err, control.ErrNotRunning):
		return &failure{3, err, "start it: systemctl start xdpban, or in the foreground: xdpban run"}
	case errors.Is(err, lock.ErrHeld):
		return &failure{75, err, "xdpban status shows what it does; xdpban reload makes it read its configuration again"}
	case errors.Is(err, daemon.ErrNowhere) && !errors.Is(err, os.ErrPermission):
		return &failure{1, err, "xdpban doctor says what this host can do; enforce: observe runs without dropping anything"}
	case errors.Is(err, os.ErrPermission):
		return &failure{4, err, "run it as root; to ask a running daemon, the group " + control.Group + " is enough"}
	}
	return &failure{1, err, ""}
}

var codes = map[control.Kind]int{control.Usage: 2, control.Failed: 1, control.BadSetup: 78}
