package daemon

import (
	"log/slog"
	"maps"
	"slices"
	"strings"
)

// faults are what keeps bans from being in force now, by the thing that has the fault.
// Each is logged once when it comes and once when it goes.
type faults struct {
	log *slog.Logger
	of  map[string]string
}

func (f *faults) set(thing string, err error) {
	before, there := f.of[thing]
	if err == nil {
		if there {
			delete(f.of, thing)
			f.log.Info("fault is over", "at", thing, "was", before)
		}
		return
	}
	if there && before == err.Error() {
		return
	}
	if f.of == nil {
		f.of = make(map[string]string)
	}
	f.of[thing] = err.Error()
	f.log.Error("fault", "at", thing, "error", err)
}

// at reports whether thing has a fault.
func (f *faults) at(thing string) bool {
	_, there := f.of[thing]
	return there
}

// keepInterfaces forgets faults of patterns for interfaces that are no longer configured.
func (f *faults) keepInterfaces(patterns []string) {
	for thing := range f.of {
		if pattern, ok := strings.CutPrefix(thing, "interface "); ok && !slices.Contains(patterns, pattern) {
			delete(f.of, thing)
		}
	}
}

// list is all of them, a sentence each.
func (f *faults) list() []string {
	list := []string{}
	for _, thing := range slices.Sorted(maps.Keys(f.of)) {
		list = append(list, thing+": "+f.of[thing])
	}
	return list
}
