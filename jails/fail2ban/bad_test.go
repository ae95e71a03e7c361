package fail2ban

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"xdpban/internal/yamldoc"
)

var update = flag.Bool("update", false, "write what is said of testdata/bad into the archives")

// wanted is the file of an archive that holds what is to be said of the others.
const wanted = "want"

// TestBadConfigurationsAreExplained reads the filter "bad" of each archive in testdata/bad, or the one that its comment names,
// or the jails if it has any.
func TestBadConfigurationsAreExplained(t *testing.T) {
	archives, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(archives) < 20 {
		t.Fatalf("%d archives, %v", len(archives), err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			dir, want := unpack(t, archive)
			err = readBad(Open(dir), strings.TrimSpace(string(archive.Comment)))
			var errs yamldoc.Errors
			if !errors.As(err, &errs) {
				t.Fatalf("%v, want an Errors", err)
			}
			got := strings.ReplaceAll(errs.Error(), dir+"/", "") + "\n"
			if *update {
				expect(t, name, archive, got)
			} else if got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

// unpack writes the files of an archive into a directory.
func unpack(t *testing.T, archive *txtar.Archive) (dir, want string) {
	t.Helper()
	dir = t.TempDir()
	for _, file := range archive.Files {
		if file.Name == wanted {
			want = string(file.Data)
			continue
		}
		path := filepath.Join(dir, file.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, want
}

// readBad reads what the comment of an archive says.
func readBad(c *Config, comment string) error {
	if comment == "jails" || isFile(filepath.Join(c.dir, "jail.conf")) {
		jails, err := c.Jails()
		errs := errorsOf(err)
		for _, jail := range jails {
			errs = append(errs, errorsOf(jail.Err)...)
		}
		return errs.Err()
	}
	spec, ok := strings.CutPrefix(comment, "spec = ")
	if !ok {
		spec = "bad"
	}
	_, err := c.Filter(spec, false)
	return err
}

func expect(t *testing.T, name string, archive *txtar.Archive, got string) {
	t.Helper()
	files := archive.Files[:0]
	for _, file := range archive.Files {
		if file.Name != wanted {
			files = append(files, file)
		}
	}
	archive.Files = append(files, txtar.File{Name: wanted, Data: []byte(got)})
	if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}
