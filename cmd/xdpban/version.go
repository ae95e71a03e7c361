package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func versionVerb(p *program) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "which xdpban this is",
		Example: "  xdpban version",
		Args:    arguments(0, 0, ""),
		Run: func(*cobra.Command, []string) {
			fmt.Fprintf(p.stdout, "xdpban %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		},
	}
}
