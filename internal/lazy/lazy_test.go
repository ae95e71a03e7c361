package lazy

import "testing"

func TestRegexp(t *testing.T) {
	digits := Regexp(`^\d+$`)
	if !digits().MatchString("12") || digits().MatchString("1a") || digits() != digits() {
		t.Errorf("digits %v: want the same regex each time, which takes digits alone", digits())
	}
	wrong := Regexp(`(`)
	defer func() {
		if recover() == nil {
			t.Error("a regex that does not compile: want a panic at the first call")
		}
	}()
	wrong()
}
