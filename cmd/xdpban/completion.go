package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func completionVerb(p *program) *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:       "completion bash|zsh|fish",
		Short:     "a script that completes commands in a shell",
		Example:   "  xdpban completion bash > /etc/bash_completion.d/xdpban",
		ValidArgs: shells,
		Args:      arguments(1, 1, "a shell: bash, zsh or fish"),
		RunE: func(c *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return c.Root().GenBashCompletionV2(p.stdout, true)
			case "zsh":
				return c.Root().GenZshCompletion(p.stdout)
			case "fish":
				return c.Root().GenFishCompletion(p.stdout, true)
			}
			return usage(c, fmt.Errorf("no completion for %q", args[0]))
		},
	}
}
