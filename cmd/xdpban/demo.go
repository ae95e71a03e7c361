package main

import (
	"context"
	"errors"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"xdpban/internal/demo"
	"xdpban/internal/lab"
)

func demoVerb(p *program) *cobra.Command {
	var own bool
	c := &cobra.Command{
		Use:     "demo",
		Short:   "the whole story on real traffic, in namespaces of its own",
		Long:    "Starts a SIP server and a scanner in network namespaces and shows how the scanner is banned, dropped, and let in again.\nTouches nothing else and leaves nothing behind. Takes less than two minutes.",
		Example: "  xdpban demo\n  xdpban demo --own-sip",
		Args:    arguments(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			// At a Ctrl-C the story ends itself, and this process with it.
			signal.Ignore(unix.SIGINT)
			code, err := lab.Enter(func() int { return p.conclude(p.tell(c.Context(), own)) })
			if err != nil {
				return err
			}
			return said(code)
		},
	}
	c.Flags().BoolVar(&own, "own-sip", false, "a small SIP server and scanner of our own instead of Kamailio and sipp")
	return c
}

// tell runs the demo inside the lab.
func (p *program) tell(ctx context.Context, own bool) error {
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
	defer stop()
	// By this path the program finds itself wherever it is, in a chroot too.
	story := demo.Story{Program: "/proc/self/exe", Out: p.stdout, OwnSIP: own}
	err := story.Run(ctx)
	if ctx.Err() != nil {
		return errors.New("stopped; nothing is left behind")
	}
	return err
}
