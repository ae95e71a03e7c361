package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"xdpban/internal/lab"
)

// TestMain runs the tests in the lab. Started under the name xdpban, the test binary is
// xdpban, so that scripts and tests find it on the PATH.
func TestMain(m *testing.M) {
	testscript.Main(inLab{m}, map[string]func(){"xdpban": main})
}

type inLab struct{ m *testing.M }

func (l inLab) Run() int { return lab.Main(l.m) }

// inTheLab reports whether the tests are in the lab, whose mounts and network are its own.
func inTheLab() bool { return os.Getenv("XDPBAN_LAB") != "" }
