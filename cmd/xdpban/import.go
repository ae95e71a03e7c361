package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"xdpban/configs"
	"xdpban/jails/fail2ban"
)

func importVerb(p *program) *cobra.Command {
	var to string
	var force bool
	c := &cobra.Command{
		Use:   "import fail2ban DIR -o DIR",
		Short: "turn a fail2ban configuration into one of ours",
		Long: "Reads jail.conf, jail.local, jail.d and the filters that the jails use, and writes xdpban.yaml, filters/*.yaml and\n" +
			fail2ban.ListFile + ", which says what has no counterpart here and what that means. All is written or nothing.",
		Example: "  xdpban import fail2ban /etc/fail2ban -o /etc/xdpban\n  xdpban check -c /etc/xdpban/xdpban.yaml",
		Args:    arguments(2, 2, "fail2ban and its directory"),
		RunE: func(c *cobra.Command, args []string) error {
			if args[0] != "fail2ban" {
				return usage(c, fmt.Errorf("import knows fail2ban, not %q", args[0]))
			}
			if to == "" {
				return usage(c, errors.New("import wants -o with the directory to write to"))
			}
			if !isDir(args[1]) {
				return &failure{1, fmt.Errorf("import %s: is no directory", args[1]), "name fail2ban's, as /etc/fail2ban"}
			}
			return p.importFail2ban(args[1], filepath.Clean(to), force)
		},
	}
	c.Flags().StringVarP(&to, "output", "o", "", "write into `DIR`")
	c.Flags().BoolVar(&force, "force", false, "write over files that are there")
	return c
}

func (p *program) importFail2ban(from, to string, force bool) error {
	imported, err := fail2ban.Import(from, shippedFilters())
	if err != nil {
		return err
	}
	s := staging{to: to, files: imported.Files, force: force}
	if err := s.run(); err != nil {
		return err
	}
	out := bufio.NewWriter(p.stdout)
	printImported(out, imported, to)
	return out.Flush()
}

// printImported says what became of what.
func printImported(w io.Writer, imported *fail2ban.Imported, to string) {
	for line := range strings.Lines(string(imported.List)) {
		fmt.Fprintln(w, safe(strings.TrimSuffix(line, "\n")))
	}
	fmt.Fprintf(w, "\n%s in %s, on: %s. The list above is %s there.\n", counted(imported.Jails, "jail"), safe(to), names(imported.Enabled), fail2ban.ListFile)
	if len(imported.Switched) > 0 {
		fmt.Fprintf(w, "On in fail2ban and off here, for what is said above: %s.\n", names(imported.Switched))
	}
	if len(imported.Journal) > 0 {
		fmt.Fprintf(w, "They read the journal in fail2ban, and see nothing here unless rsyslog writes their logpath: %s.\n", names(imported.Journal))
	}
	if more, _ := filepath.Glob(filepath.Join(to, "jails.d", "*.yaml")); len(more) > 0 {
		fmt.Fprintf(w, "What was there in jails.d is put over it: %s.\n", names(more))
	}
	fmt.Fprintf(w, "Next: xdpban check -c %s\n", safe(filepath.Join(to, fail2ban.MainFile)))
}

func names(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return safe(strings.Join(list, ", "))
}

// shippedFilters are the names of the filters that come with xdpban.
func shippedFilters() []string {
	files, _ := fs.Glob(configs.FS, "filters/*.yaml") // the pattern is well formed: no error
	for i, file := range files {
		files[i] = strings.TrimSuffix(path.Base(file), ".yaml")
	}
	return files
}
