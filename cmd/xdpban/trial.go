package main

import (
	"fmt"
	"io"
	"net/netip"
	"time"

	"xdpban/jails/filter"
)

// What a trial keeps of a log of any length: sources a rule, missed lines, and of each no
// more than the beginning.
const (
	sourcesKept = 10000
	missedKept  = 20
	textKept    = 300 // bytes; a name of DNS has 253 at most
)

// A trial is a filter tried on a log.
type trial struct {
	filter                    *filter.Filter
	now                       time.Time
	zone                      *time.Location
	dateless                  bool
	printMissed, printMatched bool

	rules                                    []ruleTrial
	dates                                    []int    // lines by template
	undated                                  int      // matched lines without a date
	missedLines                              []string // the first of them
	lines, matched, missed, ignored, tooLong int
	bytes                                    int64
	took                                     time.Duration
}

// A ruleTrial is what one rule found.
type ruleTrial struct {
	filter.Rule
	hits    int
	sources map[string]*sourceTrial
	more    int // hits of sources that there was no room for
}

// A sourceTrial is whom a rule found.
type sourceTrial struct {
	id          string
	addr        netip.Addr // zero: a name
	hits        int
	first, last time.Time
}

// A teller says at once what came out of a line, so that nothing is kept of it.
type teller func(reader *filter.Reader, n int, line []byte, r filter.Result) error

// read tries every line of log.
func (t *trial) read(log io.Reader, tell teller) error {
	t.dates = make([]int, len(t.filter.Templates()))
	for _, rule := range t.filter.Rules() {
		t.rules = append(t.rules, ruleTrial{Rule: rule, sources: make(map[string]*sourceTrial)})
	}
	reader := t.filter.NewReader(t.zone)
	if t.dateless {
		reader = t.filter.NewDatelessReader()
	}
	meter := &meter{from: log}
	began := time.Now()
	err := eachLine(meter, func(n int, line []byte) error {
		t.lines = n
		if line == nil {
			t.tooLong++
			return nil
		}
		result := reader.Read(line, t.now)
		t.count(line, result)
		return tell(reader, n, line, result)
	})
	t.bytes, t.took = meter.bytes, time.Since(began)
	return err
}

func (t *trial) count(line []byte, r filter.Result) {
	if r.Template >= 0 {
		t.dates[r.Template]++
	}
	switch r.Outcome {
	case filter.Missed:
		t.missed++
		if len(t.missedLines) < missedKept {
			t.missedLines = append(t.missedLines, beginning(line))
		}
	case filter.Ignored:
		t.ignored++
	case filter.Matched:
		t.matched++
		if !r.Dated {
			t.undated++
		}
		t.rules[r.Rule].count(r)
	}
}

// beginning is text, or as much of it as is kept.
func beginning[T string | []byte](text T) string {
	if len(text) <= textKept {
		return string(text)
	}
	return fmt.Sprintf("%s... (%s)", text[:textKept], size(uint64(len(text))))
}

func (rt *ruleTrial) count(r filter.Result) {
	rt.hits++
	id := beginning(r.ID) // a name may be as long as a line
	s := rt.sources[id]
	if s == nil {
		if len(rt.sources) == sourcesKept {
			rt.more++
			return
		}
		s = &sourceTrial{id: id, addr: r.Addr, first: r.Time, last: r.Time}
		rt.sources[id] = s
	}
	s.hits++
	if r.Time.Before(s.first) {
		s.first = r.Time
	}
	if r.Time.After(s.last) {
		s.last = r.Time
	}
}

// A meter counts what is read through it.
type meter struct {
	from  io.Reader
	bytes int64
}

func (m *meter) Read(to []byte) (n int, err error) {
	n, err = m.from.Read(to)
	m.bytes += int64(n)
	return n, err
}
