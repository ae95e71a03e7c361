package filter

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// What is read later is what would have been read at once, its lines and files included.
func TestBuiltInFiltersHaveTheirSamples(t *testing.T) {
	paths, err := filepath.Glob("../../configs/filters/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no filters: %v", err)
	}
	for _, path := range paths {
		got, err := ParseBuiltIn(os.DirFS(filepath.Dir(path)), filepath.Base(path), path)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Samples) > 0 {
			t.Errorf("%s: samples do not stand last: they are read whether somebody asks or not", path)
		}
		want := parse(t, path)
		if !reflect.DeepEqual(got.AllSamples(), want.Samples) {
			t.Errorf("%s: samples are %v, want %v", path, got.AllSamples(), want.Samples)
		}
		got.later, want.Samples = nil, nil
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the rest is %v, want %v", path, got, want)
		}
	}
}

// What is said of built-in filters without another try is what a try says.
func TestBuiltInFiltersWereTried(t *testing.T) {
	for _, f := range shipped(t) {
		got := f.Tried()
		for i, found := range f.Injections() {
			if found.Verdict != got[i].Verdict {
				t.Errorf("%v: %s is %v, and said to be %v", f, f.rules[i].Name, found.Verdict, got[i].Verdict)
			}
		}
	}
}
