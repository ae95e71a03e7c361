package lazy

import "testing"

func TestRegexp(t *testing.T) {
	digits := Regexp(`^\d+$`)
	if !digits.Get().MatchString("12") || digits.Get().MatchString("1a") {
		t.Errorf("%v: want digits alone", digits.Get())
	}
	if first := digits.Get(); digits.Get() != first {
		t.Error("the second call makes another regex")
	}
	wrong := Regexp(`(`)
	defer func() {
		if recover() == nil {
			t.Error("a regex that does not compile: want a panic at the first call")
		}
	}()
	wrong.Get()
}
