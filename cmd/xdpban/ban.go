package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"xdpban/internal/ban"
	"xdpban/internal/control"
	"xdpban/internal/yamldoc"
	"xdpban/jails"
)

func banVerb(p *program) *cobra.Command {
	var list, length string
	var request control.BanRequest
	c := &cobra.Command{
		Use:     "ban ADDR|PREFIX...",
		Short:   "ban by hand",
		Long:    "Bans addresses and prefixes at once. An IPv6 address is banned with its neighbours of ipv6_prefix (write /128 for it alone).\nWhat the allow list holds, and the address you are logged in from, are refused.",
		Example: "  xdpban ban 192.0.2.7\n  xdpban ban 198.51.100.0/24 2001:db8::7 --for 2h --reason 'called at night'\n  xdpban ban --file list.txt",
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if request.Seconds, err = seconds(c, length); err != nil {
				return err
			}
			if request.Prefixes, request.Addresses, err = sources(c, args, list); err != nil {
				return err
			}
			if request.List, request.Name, err = p.readList(list); err != nil {
				return err
			}
			request.Spare = sshPeers(p.environ, "/proc")
			return p.ban(c, request)
		},
	}
	c.Flags().StringVar(&list, "file", "", "also ban what `LIST` holds, one a line; - is standard input")
	c.Flags().StringVar(&length, "for", "", "how `LONG`: 90, 2h, 1d12h (default: the bantime of the jail)")
	c.Flags().StringVar(&request.Jail, "jail", "", "as a ban of `JAIL`, with its times")
	c.Flags().StringVar(&request.Reason, "reason", "", "`TEXT` to show beside it")
	c.Flags().BoolVar(&request.Force, "force", false, "ban even what is never banned")
	return c
}

func (p *program) ban(c *cobra.Command, request control.BanRequest) error {
	client, err := p.client()
	if err != nil {
		return err
	}
	reply, err := client.Ban(c.Context(), request)
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "banned %s until %s, longer while it goes on\n", named(reply.Banned, reply.Count), reply.Until.Local().Format(time.DateTime))
	for _, spared := range reply.Spared {
		fmt.Fprintf(p.stdout, "%s inside it still passes (%s)\n", short(spared.Prefix), spared.Origin)
	}
	return nil
}

func unbanVerb(p *program) *cobra.Command {
	var list string
	var all bool
	c := &cobra.Command{
		Use:     "unban ADDR|PREFIX... | --all",
		Short:   "let someone in again and forget the failures",
		Example: "  xdpban unban 192.0.2.7\n  xdpban unban --all",
		RunE: func(c *cobra.Command, args []string) error {
			var request control.UnbanRequest
			if request.All = all; all && (len(args) > 0 || list != "") {
				return usage(c, errors.New("unban takes addresses or --all, not both"))
			}
			if all {
				return p.unban(c, request)
			}
			var err error
			if request.Prefixes, request.Addresses, err = sources(c, args, list); err != nil {
				return err
			}
			if request.List, request.Name, err = p.readList(list); err != nil {
				return err
			}
			return p.unban(c, request)
		},
	}
	c.Flags().StringVar(&list, "file", "", "also unban what `LIST` holds, one a line; - is standard input")
	c.Flags().BoolVar(&all, "all", false, "end every ban")
	return c
}

func (p *program) unban(c *cobra.Command, request control.UnbanRequest) error {
	client, err := p.client()
	if err != nil {
		return err
	}
	reply, err := client.Unban(c.Context(), request)
	if err != nil {
		return err
	}
	if reply.Count > 0 || request.All {
		fmt.Fprintf(p.stdout, "unbanned %s\n", named(reply.Unbanned, reply.Count))
	}
	for _, absent := range reply.Absent {
		if absent.Covered.IsValid() {
			p.complain(fmt.Sprintf("%s has no ban of its own, it lies in %s", short(absent.Prefix), absent.Covered), "xdpban unban "+absent.Covered.String())
			continue
		}
		p.complain(short(absent.Prefix)+" is not banned", "")
	}
	if more := reply.Absents - len(reply.Absent); more > 0 {
		p.complain(counted(more, "other")+" are not banned either", "")
	}
	if reply.Absents > 0 {
		return said(1)
	}
	return nil
}

// named is prefixes, count in all, in a sentence: a few by name, many by number.
func named(prefixes []netip.Prefix, count int) string {
	if len(prefixes) == 0 || count > 5 {
		return number(count) + " sources"
	}
	names := make([]string, len(prefixes))
	for i, prefix := range prefixes {
		names[i] = short(prefix)
	}
	return strings.Join(names, ", ")
}

// sources reads args, of which there may be none where there is a list. All mistakes in them are
// one error.
func sources(c *cobra.Command, args []string, list string) (prefixes []netip.Prefix, addresses []netip.Addr, err error) {
	if len(args) == 0 && list == "" {
		return nil, nil, usage(c, fmt.Errorf("%s wants an address or a prefix", c.Name()))
	}
	var wrong []error
	for _, arg := range args {
		prefix, err := ban.ParsePrefix(arg)
		switch {
		case err != nil:
			wrong = append(wrong, err)
		case strings.Contains(arg, "/"):
			prefixes = append(prefixes, prefix)
		default:
			addresses = append(addresses, prefix.Addr())
		}
	}
	if len(wrong) > 0 {
		return nil, nil, usage(c, errors.Join(wrong...))
	}
	return prefixes, addresses, nil
}

// readList opens the file list, - is standard input, for the daemon to say what is wrong with it. What is no
// regular file is read to its end first: the daemon would not wait for who types it.
func (p *program) readList(list string) (text io.Reader, name string, err error) {
	if list == "" {
		return nil, "", nil
	}
	in := p.stdin
	if list != "-" {
		if in, err = os.Open(list); err != nil {
			return nil, "", fmt.Errorf("open the list %s: %w", list, reason(err))
		}
	}
	if size, ok := regular(in); ok {
		return in, list, fits(list, size)
	}
	all := new(bytes.Buffer)
	if _, err := all.ReadFrom(io.LimitReader(in, control.ListBytes+1)); err != nil {
		return nil, "", fmt.Errorf("read the list %s: %w", list, reason(err))
	}
	return all, list, fits(list, int64(all.Len()))
}

// regular is how many bytes the regular file in has.
func regular(in io.Reader) (size int64, ok bool) {
	file, ok := in.(*os.File)
	if !ok {
		return 0, false
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	return info.Size(), true
}

// fits is the error of a list that is too long.
func fits(list string, size int64) error {
	if size > control.ListBytes {
		return fmt.Errorf("read the list %s: it is longer than %d MiB, give it in parts", list, control.ListBytes>>20)
	}
	return nil
}

// seconds reads the value of --for.
func seconds(c *cobra.Command, length string) (int64, error) {
	if length == "" {
		return 0, nil
	}
	d, err := jails.ParseDuration(length)
	var bad *yamldoc.Error
	if errors.As(err, &bad) {
		return 0, &failure{2, errors.New("--for: " + bad.Msg), bad.Hint}
	}
	if err != nil {
		return 0, usage(c, fmt.Errorf("--for: %w", err))
	}
	if d < time.Second {
		return 0, usage(c, fmt.Errorf("--for: %q is less than a second", length))
	}
	return int64(d / time.Second), nil
}
