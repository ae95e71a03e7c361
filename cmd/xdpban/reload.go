package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func reloadVerb(p *program) *cobra.Command {
	return &cobra.Command{
		Use:     "reload",
		Short:   "make the daemon read its configuration again, all or nothing",
		Example: "  xdpban check && xdpban reload",
		Args:    arguments(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := p.client()
			if err != nil {
				return err
			}
			reply, err := client.Reload(c.Context())
			if err != nil {
				return err
			}
			fmt.Fprintf(p.stdout, "reloaded %s: %s\n", reply.Config, jailNames(reply.Jails))
			return nil
		},
	}
}

func jailNames(names []string) string {
	if len(names) == 0 {
		return "no jail is on"
	}
	return strings.Join(names, ", ")
}
