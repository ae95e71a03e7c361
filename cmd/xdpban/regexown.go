package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"xdpban/internal/yamldoc"
	"xdpban/jails/filter"
)

// own is what the command line says of a filter beside its name, as a jail can.
type own struct {
	ignoreregex, datepattern []string
	maxlines                 int // 0: not said
}

// over is f with what o says put over it. An error is one of the command line.
func (o own) over(c *cobra.Command, f *filter.Filter) (*filter.Filter, error) {
	spec := *f.Spec()
	spec.Ignoreregex = append(given(o.ignoreregex), spec.Ignoreregex...)
	if len(o.datepattern) > 0 {
		spec.Datepattern = given(o.datepattern)
	}
	if c.Flags().Changed("maxlines") {
		spec.Maxlines = yamldoc.Value[int]{V: o.maxlines, Set: true}
	}
	if len(o.ignoreregex) == 0 && len(o.datepattern) == 0 && !c.Flags().Changed("maxlines") {
		return f, nil
	}
	made, err := filter.New(f.Name, &spec, f.Mode)
	var bad yamldoc.Errors
	if errors.As(err, &bad) {
		return nil, usage(c, fmt.Errorf("%s: %s", bad[0].Key, bad[0].Msg))
	}
	return made, err
}

// given are texts of the command line as values of a file.
func given(texts []string) []yamldoc.Value[string] {
	var list []yamldoc.Value[string]
	for _, text := range texts {
		list = append(list, yamldoc.Value[string]{V: text, Set: true})
	}
	return list
}
