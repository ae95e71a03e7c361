package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"xdpban/internal/control"
	"xdpban/internal/yamldoc"
	"xdpban/jails"
)

// defaultConfig is read where no --config is given and it exists.
const defaultConfig = "/etc/xdpban/xdpban.yaml"

// program is xdpban with its surroundings.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        func(string) string

	config string // --config
	socket string // --socket
	json   bool   // --json

	printing bool // lines, while they are read
}

// verbs are the commands, in the order of the help text.
var verbs = []func(*program) *cobra.Command{
	runVerb, checkVerb, regexVerb, dryRunVerb, explainVerb, filtersVerb,
	statusVerb, bansVerb, banVerb, unbanVerb, verifyVerb, reloadVerb, doctorVerb, detachVerb,
	importVerb, demoVerb, versionVerb, completionVerb,
}

const about = `xdpban reads logs, recognises attackers and drops their packets in the kernel.

Nouns look and take --json; verbs change.`

const exits = `
Exit codes: 0 ok, 1 failed, 2 usage, 3 daemon not running, 4 not permitted,
75 already running, 78 configuration.
`

// run executes the command line args and returns the exit code.
func (p *program) run(args []string) int {
	root := p.root()
	root.SetArgs(args)
	return p.conclude(root.ExecuteContext(context.Background()))
}

// root is the command that all verbs belong to.
func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use: "xdpban", Long: about, SilenceErrors: true, SilenceUsage: true,
		Example: "  xdpban run -c /etc/xdpban/xdpban.yaml\n  xdpban regex /var/log/auth.log sshd\n  xdpban bans",
		Args:    noVerb,
	}
	asked := root.Flags().BoolP("version", "V", false, "which xdpban this is")
	root.RunE = func(c *cobra.Command, _ []string) error {
		if *asked {
			return p.tellVersion()
		}
		return c.Help()
	}
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.CompletionOptions.DisableDefaultCmd = true
	withExits(root)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(c, err) })
	root.PersistentFlags().StringVarP(&p.config, "config", "c", "", "configuration `PATH` (default "+defaultConfig+" where it is there, else the built-in one)")
	root.PersistentFlags().StringVar(&p.socket, "socket", "", "`PATH` of the daemon's socket (default: as configured)")
	cobra.EnableCommandSorting = false
	root.SuggestionsMinimumDistance = 2
	for _, verb := range verbs {
		root.AddCommand(verb(p))
	}
	root.SetHelpCommand(helpVerb())
	return root
}

// withExits has the help of root and its verbs end with the exit codes. A template, as cobra has one for that,
// brings its whole engine into the program, and every method of every type that one might name.
func withExits(root *cobra.Command) {
	help := root.HelpFunc()
	root.SetHelpFunc(func(c *cobra.Command, args []string) {
		help(c, args)
		fmt.Fprint(c.OutOrStdout(), exits)
	})
}

// helpVerb is what cobra calls at "xdpban help VERB".
func helpVerb() *cobra.Command {
	return &cobra.Command{
		Use:     "help [VERB]",
		Short:   "what a verb does, with an example",
		Example: "  xdpban help ban",
		RunE: func(c *cobra.Command, args []string) error {
			verb, rest, err := c.Root().Find(args)
			if err != nil {
				return err
			}
			if verb == c.Root() && len(rest) > 0 {
				return noVerb(verb, rest)
			}
			return verb.Help()
		},
	}
}

// looks gives a command that looks its --json.
func (p *program) looks(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&p.json, "json", false, "print JSON")
	return c
}

// show prints v as JSON where that is asked for, else as people calls it.
func (p *program) show(v any, people func(io.Writer)) error {
	if p.json {
		return writeJSON(p.stdout, v, "  ")
	}
	out := bufio.NewWriter(p.stdout)
	people(out)
	return out.Flush()
}

// configPath is the configuration to read; empty is the built-in one.
func (p *program) configPath() string {
	if p.config != "" {
		return p.config
	}
	if _, err := os.Stat(defaultConfig); err == nil {
		return defaultConfig
	}
	return ""
}

// configName is what people call the configuration at path.
func configName(path string) string {
	if path == "" {
		return "built in"
	}
	return path
}

// client asks the daemon whose socket is named by --socket or the configuration.
func (p *program) client() (*control.Client, error) {
	if p.socket != "" {
		return control.NewClient(p.socket), nil
	}
	config, err := jails.Load(p.configPath())
	if err == nil {
		return control.NewClient(config.Socket), nil
	}
	if p.config != "" {
		return nil, err
	}
	// Somebody is in the middle of editing it: the daemon is most likely where it always is.
	config, err = jails.Load("")
	if err != nil {
		return nil, err
	}
	return control.NewClient(config.Socket), nil
}

// elsewhere is what takes the place of commands that fail2ban-client and init scripts have.
var elsewhere = map[string]string{
	"start":   "systemctl start xdpban, or in the foreground: xdpban run",
	"stop":    "systemctl stop xdpban; bans stay in force, until xdpban detach ends them",
	"restart": "systemctl restart xdpban; the configuration alone is read again by xdpban reload",
	"set":     "xdpban ban ADDR --jail JAIL and xdpban unban ADDR; all else is set in the configuration, see xdpban reload",
	"get":     "xdpban status JAIL, and xdpban check --dump for what is configured",
	"banned":  "xdpban bans lists who is out, xdpban verify ADDR says what becomes of one",
	"list":    "xdpban bans",
	"flush":   "xdpban unban --all",
	"ping":    "xdpban status",
	"test":    "xdpban check",
}

func noVerb(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := fmt.Errorf("there is no command %q", args[0])
	if instead, known := elsewhere[args[0]]; known {
		return &failure{2, err, instead}
	}
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		return &failure{2, err, "did you mean: xdpban " + near[0]}
	}
	return &failure{2, err, "xdpban --help lists them"}
}

// A failure ends the program with a code of its own.
type failure struct {
	code int
	err  error
	hint string
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usage is a mistake on the command line of c.
func usage(c *cobra.Command, err error) error {
	return &failure{2, err, c.CommandPath() + " --help shows an example"}
}

// arguments checks how many there are; names say what is missing.
func arguments(least, most int, names string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < least {
			return usage(c, fmt.Errorf("%s wants %s", c.Name(), names))
		}
		if most >= 0 && len(args) > most {
			return usage(c, fmt.Errorf("%s takes no %q", c.Name(), args[most]))
		}
		return nil
	}
}

// said ends the program with a code after everything has been printed.
type said int

func (s said) Error() string { return "said" }

// conclude prints err with a hint where there is a next step, and returns the exit code.
func (p *program) conclude(err error) int {
	if err == nil {
		return 0
	}
	var code said
	if errors.As(err, &code) {
		return int(code)
	}
	var mistakes yamldoc.Errors
	if errors.As(err, &mistakes) {
		for _, m := range mistakes.Sorted() {
			hint := m.Hint
			m.Hint = ""
			p.complain(m.Error(), hint)
		}
		return 78
	}
	f := explain(err)
	p.complain(f.err.Error(), f.hint)
	return f.code
}

// complain prints what is wrong, one thing a line, and what to do about it.
func (p *program) complain(text, hint string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(p.stderr, "xdpban: %s\n", safe(strings.TrimSuffix(line, "\n")))
	}
	if hint != "" {
		fmt.Fprintf(p.stderr, "hint: %s\n", safe(hint))
	}
}
