package lock_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"xdpban/internal/lock"
)

// What is opened twice is as two processes have it.
func TestWhatIsTakenIsHeldUntilItIsClosed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lock")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, what := range []string{path, dir} {
		first, second := open(t, what), open(t, what)
		if err := lock.Take(first); err != nil {
			t.Fatal(err)
		}
		if err := lock.Take(second); !errors.Is(err, lock.ErrHeld) {
			t.Errorf("%s, taken twice: %v", what, err)
		}
		first.Close()
		if err := lock.Take(second); err != nil {
			t.Errorf("%s, let go of: %v", what, err)
		}
	}
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}
