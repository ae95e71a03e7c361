package main

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"xdpban/internal/control"
)

func verifyVerb(p *program) *cobra.Command {
	return p.looks(&cobra.Command{
		Use:   "verify [ADDR]",
		Short: "proves that bans are in force: asks the kernel",
		Long: "With ADDR: what becomes of a packet from that address on each interface, by the answer of the loaded kernel\nprogram, or of the chain and its sets, and which ban it meets.\n" +
			"Without: compares all bans that are wanted with those in the kernel, and puts back what is missing.\nEnds with 1 where something was not as it should be.",
		Example: "  xdpban verify 192.0.2.7\n  xdpban verify",
		Args:    arguments(0, 1, ""),
		RunE: func(c *cobra.Command, args []string) error {
			var request control.VerifyRequest
			if len(args) == 1 {
				addr, err := netip.ParseAddr(args[0])
				if err != nil {
					return usage(c, fmt.Errorf("%q is not an address", args[0]))
				}
				request.Address = addr
			}
			client, err := p.client()
			if err != nil {
				return err
			}
			reply, err := client.Verify(c.Context(), request)
			if err != nil {
				return err
			}
			return p.verified(reply)
		},
	})
}

// verified shows what was found, and fails where it is not as it should be.
func (p *program) verified(reply control.VerifyReply) error {
	sound := true
	err := p.show(reply, func(w io.Writer) {
		if reply.Compared != nil {
			printComparison(w, *reply.Compared)
		} else {
			printVerdicts(w, reply.Verdicts, time.Now())
		}
	})
	if reply.Compared != nil {
		sound = isSound(*reply.Compared)
	}
	if err == nil && !sound {
		return said(1)
	}
	return err
}

func isSound(c control.Comparison) bool {
	return c.Repaired == 0 && c.Enforced == c.Wanted && c.Unknowns == 0 && len(c.Mended) == 0
}

func printVerdicts(w io.Writer, verdicts []control.Verdict, now time.Time) {
	if len(verdicts) == 0 {
		fmt.Fprintln(w, "PASS: bans are enforced on no interface")
		return
	}
	rows := [][]string{{"INTERFACE", "MODE", "VERDICT", "BAN", "JAIL", "LEFT", "NOTE"}}
	for _, v := range verdicts {
		row := []string{safe(v.Interface), v.Mode, v.Verdict, "none", "", "", safe(v.Note)}
		if v.By != nil {
			row[3], row[4], row[5] = short(v.By.Prefix), safe(v.By.Jail), span(v.By.End.Sub(now))
		}
		rows = append(rows, row)
	}
	printTable(w, rows)
}

// unknownShown bounds the list of bans that nobody wants.
const unknownShown = 20

func printComparison(w io.Writer, c control.Comparison) {
	fmt.Fprintf(w, "%s wanted, %s in force\n", counted(c.Wanted, "ban"), number(c.Enforced))
	if c.Repaired > 0 {
		fmt.Fprintf(w, "PUT BACK: %s that the kernel had lost\n", counted(c.Repaired, "ban"))
	}
	for _, what := range c.Mended {
		fmt.Fprintf(w, "PUT BACK: %s\n", safe(what))
	}
	if c.Unknowns == 0 {
		return
	}
	var list []string
	for _, prefix := range c.Unknown[:min(len(c.Unknown), unknownShown)] {
		list = append(list, short(prefix))
	}
	fmt.Fprintf(w, "UNKNOWN: %s in the kernel that nobody wants: %s\n", counted(c.Unknowns, "ban"), strings.Join(list, " "))
}
