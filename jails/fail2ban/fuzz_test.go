package fail2ban

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"xdpban/internal/lab"
	"xdpban/internal/yamldoc"
	"xdpban/jails"
)

// FuzzImport imports a directory of any jails and any filter. What comes of it is a configuration that
// is read without a mistake, or a list of mistakes.
func FuzzImport(f *testing.F) {
	f.Add("[DEFAULT]\nenabled = true\nfilter = f[mode=x]\nlogpath = /var/log/a.log\nbantime = 1d12h\n[j]\nmaxretry = 3\nignoreip = 192.0.2.1/24 h\n",
		"[Definition]\nfailregex = ^a <HOST>$\n  <m-<mode>>\nm-x = ^b <ADDR>$\nmode = y\nmaxlines = 2\ndatepattern = %%Y\n")
	f.Add("[j]\n# why\nbackend = systemd\nfailregex = ^%(x)s <HOST>$\nx = a\nlogtimezone = UTC+1\njournalmatch = _COMM=a\nlogpath =\n /a /b tail\n[J]\naction = a[blocktype=RETURN]\n",
		"[INCLUDES]\nbefore = f.conf\n[Init]\na = 1\n[Definition]\nignoreregex = x\nfailregex = ^<a> <F-MLFID>x</F-MLFID> <HOST>\nprefregex = ^<F-CONTENT>.+</F-CONTENT>$\n")
	dir, to := f.TempDir(), f.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "filter.d"), 0o755); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, jail, filter string) {
		if len(jail)+len(filter) > 2000 {
			return
		}
		for name, text := range map[string]string{"jail.conf": jail, "filter.d/f.conf": filter} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		began := lab.ProcessTime(t)
		imported, err := Import(dir, []string{"f"})
		if took := lab.ProcessTime(t) - began; took > 10*time.Second {
			t.Errorf("takes %v", took)
		}
		var mistakes yamldoc.Errors
		if err != nil && !errors.As(err, &mistakes) {
			t.Fatalf("no list of mistakes: %v", err)
		}
		if err != nil {
			return
		}
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
		for _, file := range imported.Files {
			path := filepath.Join(to, file.Name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, file.Data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := jails.Load(filepath.Join(to, MainFile)); err != nil {
			t.Errorf("%v in\n%s\nof\n%s\n-- filter --\n%s", err, imported.Files[0].Data, jail, filter)
		}
	})
}
