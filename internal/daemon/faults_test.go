package daemon

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
)

func TestFaultsAreSaidWhenTheyComeAndWhenTheyGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f := faults{log: logTo(t, path).Logger}
	down, refused := errors.New("no such device"), errors.New("device or resource busy")
	for _, step := range []struct {
		thing string
		err   error
		want  []string // the list after it
	}{
		{"eth0", nil, []string{}},
		{"eth0", down, []string{"eth0: no such device"}},
		{"eth0", errors.New("no such device"), []string{"eth0: no such device"}},
		{"bans", refused, []string{"bans: device or resource busy", "eth0: no such device"}},
		{"eth0", refused, []string{"bans: device or resource busy", "eth0: device or resource busy"}},
		{"eth0", nil, []string{"bans: device or resource busy"}},
		{"eth0", nil, []string{"bans: device or resource busy"}},
		{"bans", nil, []string{}},
	} {
		f.set(step.thing, step.err)
		if got := f.list(); !slices.Equal(got, step.want) {
			t.Errorf("after %s: %v: got %q, want %q", step.thing, step.err, got, step.want)
		}
	}
	want := []string{
		`ERROR fault at=eth0 error="no such device"`,
		`ERROR fault at=bans error="device or resource busy"`,
		`ERROR fault at=eth0 error="device or resource busy"`,
		`INFO  fault is over at=eth0 was="device or resource busy"`,
		`INFO  fault is over at=bans was="device or resource busy"`,
	}
	if got := logged(t, path); !slices.Equal(got, want) {
		t.Errorf("log: got %q, want %q", got, want)
	}
}

func TestFaultsOfInterfacesNoLongerWantedAreForgotten(t *testing.T) {
	f := faults{log: logTo(t, filepath.Join(t.TempDir(), "log")).Logger}
	for _, thing := range []string{"interface eth0", "interface wan*", "eth0", "bans"} {
		f.set(thing, errors.New("missing"))
	}
	f.keepInterfaces([]string{"wan*"})
	if got, want := f.list(), []string{"bans: missing", "eth0: missing", "interface wan*: missing"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
