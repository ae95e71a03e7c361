package main

import (
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"
)

func versionVerb(p *program) *cobra.Command {
	return p.looks(&cobra.Command{
		Use:     "version",
		Short:   "which xdpban this is",
		Example: "  xdpban version",
		Args:    arguments(0, 0, ""),
		RunE:    func(*cobra.Command, []string) error { return p.tellVersion() },
	})
}

func (p *program) tellVersion() error {
	this := struct {
		Version  string `json:"version"`
		Go       string `json:"go"`
		Platform string `json:"platform"`
	}{version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
	return p.show(this, func(w io.Writer) { fmt.Fprintf(w, "xdpban %s (%s, %s)\n", this.Version, this.Go, this.Platform) })
}
