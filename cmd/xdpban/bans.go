package main

import (
	"bufio"
	"io"
	"time"

	"github.com/spf13/cobra"

	"xdpban/internal/control"
)

func bansVerb(p *program) *cobra.Command {
	return p.looks(&cobra.Command{
		Use:     "bans",
		Short:   "who is out, why, for how long, and what was dropped",
		Long:    "Lists the bans in force, those that end last first. Where there are thousands they come in no order, while the kernel is read.",
		Example: "  xdpban bans\n  xdpban bans --json | jq -r '.[].prefix'",
		Args:    arguments(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := p.client()
			if err != nil {
				return err
			}
			out := bufio.NewWriterSize(p.stdout, 1<<16)
			var list banList = &banTable{out: out, now: time.Now()}
			if p.json {
				list = &jsonList[control.Ban]{out: out}
			}
			if err := client.EachBan(c.Context(), list.add); err != nil {
				return err
			}
			if err := list.end(); err != nil {
				return err
			}
			return out.Flush()
		},
	})
}

// A banList shows bans while they come.
type banList interface {
	add(control.Ban) error
	end() error
}

// A banTable shows them in columns. What has been printed cannot become wider: columns are
// as wide as those of some thousand bans take, and grow where later ones take more.
type banTable struct {
	out    io.Writer
	now    time.Time
	rows   [][]string
	widths []int
	any    bool
}

// rowsAtOnce is how many rows decide together how wide the columns are.
const rowsAtOnce = 4096

func (t *banTable) add(b control.Ban) error {
	if !t.any {
		t.any = true
		t.rows = append(t.rows, []string{"SOURCE", "JAIL", "REASON", "SINCE", "LEFT", "PACKETS", "BYTES", "LAST SEEN", "REFRESHED"})
	}
	t.rows = append(t.rows, []string{short(b.Prefix), safe(b.Jail), safe(b.Reason), ago(b.Since, t.now),
		span(b.End.Sub(t.now)), number(b.Packets), size(b.Bytes), ago(b.Seen, t.now), number(b.Refreshes)})
	if len(t.rows) < rowsAtOnce {
		return nil
	}
	return t.print()
}

func (t *banTable) end() error {
	if !t.any {
		_, err := io.WriteString(t.out, "nobody is banned\n")
		return err
	}
	return t.print()
}

func (t *banTable) print() error {
	t.widths = widen(t.widths, t.rows)
	for _, row := range t.rows {
		if _, err := io.WriteString(t.out, aligned(row, t.widths)+"\n"); err != nil {
			return err
		}
	}
	t.rows = t.rows[:0]
	return nil
}

// A jsonList prints a list as writeJSON does, item by item.
type jsonList[T any] struct {
	out io.Writer
	n   int
}

func (l *jsonList[T]) add(item T) error {
	before := ",\n"
	if l.n++; l.n == 1 {
		before = "[\n"
	}
	text, err := textJSON(item, "  ", "  ")
	if err != nil {
		return err
	}
	_, err = io.WriteString(l.out, before+"  "+string(text[:len(text)-1]))
	return err
}

func (l *jsonList[T]) end() error {
	after := "\n]\n"
	if l.n == 0 {
		after = "[]\n"
	}
	_, err := io.WriteString(l.out, after)
	return err
}
