package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"xdpban/jails/filter"
)

// What a trial keeps of a log of any length: sources a rule, missed lines, and of each no
// more than the beginning.
const (
	sourcesKept = 10000
	missedKept  = 20
	textKept    = 300     // bytes; a name of DNS has 253 at most
	speedKept   = 1 << 16 // bytes of lines on which each rule is measured
	nearKept    = 1 << 15 // bytes of missed lines among which near misses are looked for
	nearShown   = 3
)

// A trial is a filter tried on a log.
type trial struct {
	filter                                  *filter.Filter
	now                                     time.Time
	zone                                    *time.Location
	dateless                                bool
	printMissed, printMatched, printIgnored bool
	expand                                  bool // show regexes without tags too

	rules                                    []ruleTrial
	dates                                    []int            // lines by template
	undated                                  int              // matched lines without a date
	missedLines                              [][]byte         // the first of them
	someMissed                               excerpt          // of all of them
	spent                                    *filter.Reader   // has read the log; nil until then
	searcher                                 *filter.Searcher // nil until a line is missed
	excerpt                                  excerpt
	lines, matched, missed, ignored, tooLong int
	bytes                                    int64
	took                                     time.Duration
	undecided                                undecided
}

// A ruleTrial is what one rule found.
type ruleTrial struct {
	filter.Rule
	hits  int
	speed filter.Speed
	whom  tally
}

// A teller says at once what came out of a line, so that nothing is kept of it.
type teller func(reader *filter.Reader, n int, line []byte, r *filter.Result) error

// reader reads lines as the trial's are written.
func (t *trial) reader() *filter.Reader {
	if t.dateless {
		return t.filter.NewDatelessReader()
	}
	return t.filter.NewReader(t.zone)
}

// read tries every line of log. bar may be nil.
func (t *trial) read(log io.Reader, tell teller, bar *bar) error {
	t.dates = make([]int, len(t.filter.Templates()))
	for _, rule := range t.filter.Rules() {
		t.rules = append(t.rules, ruleTrial{Rule: rule})
	}
	t.excerpt.room, t.someMissed.room = speedKept, nearKept
	reader := t.reader()
	var result filter.Result
	meter := &meter{from: log}
	began := time.Now()
	err := eachLine(meter, func(n int, line []byte) error {
		t.lines = n
		bar.show(meter.bytes, n)
		if line == nil {
			t.tooLong++
			return nil
		}
		t.excerpt.add(n, line)
		reader.ReadInto(&result, line, t.now)
		if result.TimedOut > 0 {
			t.blame(reader)
		}
		t.count(line, &result)
		return tell(reader, n, line, &result)
	})
	t.bytes, t.took, t.spent = meter.bytes, time.Since(began), reader
	bar.clear()
	return err
}

// measure finds out how fast rules are on some of the lines that were read, those that hit first. That
// takes a twentieth of the time that the log took, or what a few rules need.
func (t *trial) measure() {
	order := make([]int, len(t.rules))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(t.rules[b].hits, t.rules[a].hits) })
	for i, speed := range t.spent.Speeds(t.excerpt.lines(), t.now, t.took/20, order) {
		t.rules[i].speed = speed
	}
}

// An excerpt keeps lines from all parts of a log, however long that is.
type excerpt struct {
	text []byte // the lines, one behind the other
	ends []int  // of each in text
	step int    // one line in so many is kept
	room int    // bytes at most
	next int    // number of the next one
}

// add keeps line number n or not. Where there is no more room every second of them goes.
func (e *excerpt) add(n int, line []byte) {
	if n < e.next {
		return
	}
	if e.text == nil {
		e.text, e.step = make([]byte, 0, e.room+e.room/8), 1
	}
	e.text = append(e.text, line...)
	e.ends = append(e.ends, len(e.text))
	for len(e.text) > e.room && len(e.ends) > 1 {
		e.thin()
	}
	e.next = n - n%e.step + e.step
}

// thin moves every second line to the front.
func (e *excerpt) thin() {
	e.step *= 2
	text, ends, from := e.text[:0], e.ends[:0], 0
	for i, end := range e.ends {
		if i%2 == 0 {
			text = append(text, e.text[from:end]...)
			ends = append(ends, len(text))
		}
		from = end
	}
	e.text, e.ends = text, ends
}

// lines are what was kept, until another line is added.
func (e *excerpt) lines() [][]byte {
	lines := make([][]byte, len(e.ends))
	from := 0
	for i, end := range e.ends {
		lines[i] = e.text[from:end:end]
		from = end
	}
	return lines
}

func (t *trial) count(line []byte, r *filter.Result) {
	t.undecided.note(r)
	if r.Template >= 0 {
		t.dates[r.Template]++
	}
	switch r.Outcome {
	case filter.Missed:
		t.missed++
		t.someMissed.add(t.missed, line)
		if len(t.missedLines) < missedKept {
			t.missedLines = append(t.missedLines, bytes.Clone(line))
		}
	case filter.Ignored:
		t.ignored++
	case filter.Matched:
		t.matched++
		if !r.Dated {
			t.undated++
		}
		t.rules[r.Rule].hits++
		t.rules[r.Rule].whom.add(r)
	}
}

// beginning is text, or as much of it as is kept.
func beginning[T string | []byte](text T) string {
	if len(text) <= textKept {
		return string(text)
	}
	return fmt.Sprintf("%s... (%s)", text[:textKept], size(uint64(len(text))))
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
