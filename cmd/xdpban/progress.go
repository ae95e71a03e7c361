package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A bar says on a terminal how far a long reading is. One that is nil says nothing.
type bar struct {
	terminal io.Writer
	total    int64 // bytes to read; 0: nobody knows
	now      func() time.Time
	began    time.Time
	next     time.Time // when to draw again
	asked    int
	drawn    bool
}

// A bar is drawn when a reading takes longer than a moment, and then now and again.
const (
	moment = 500 * time.Millisecond
	again  = 200 * time.Millisecond
	seldom = 256 // lines between two looks at the clock
)

func newBar(terminal io.Writer, total int64, now func() time.Time) *bar {
	began := now()
	return &bar{terminal: terminal, total: total, now: now, began: began, next: began.Add(moment)}
}

// bar is for reading log; nil where stderr is no terminal, or where what is printed meanwhile
// would be torn by it.
func (p *program) bar(log io.Reader) *bar {
	if !isTerminal(p.stderr) || isTerminal(p.stdout) && p.printing {
		return nil
	}
	var total int64
	if file, ok := log.(*os.File); ok {
		if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
			total = info.Size()
		}
	}
	return newBar(p.stderr, total, time.Now)
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}

// show draws what has been read where it is time to.
func (b *bar) show(bytes int64, lines int) {
	if b == nil {
		return
	}
	if b.asked++; b.asked%seldom != 0 {
		return
	}
	now := b.now()
	if now.Before(b.next) {
		return
	}
	b.next = now.Add(again)
	b.drawn = true
	fmt.Fprintf(b.terminal, "\r\x1b[K%s", b.text(bytes, lines, now.Sub(b.began)))
}

// text is "  42 %  [########            ]  312 MB of 740 MB, 1,200,000 lines, 2s left".
func (b *bar) text(bytes int64, lines int, since time.Duration) string {
	if b.total <= 0 || bytes > b.total {
		return fmt.Sprintf("%s, %s, %s/s", size(uint64(bytes)), counted(lines, "line"), size(uint64(float64(bytes)/since.Seconds())))
	}
	const width = 20
	full := int(bytes * width / b.total)
	picture := make([]byte, width)
	for i := range picture {
		picture[i] = ' '
		if i < full {
			picture[i] = '#'
		}
	}
	left := time.Duration(float64(since) * float64(b.total-bytes) / float64(max(bytes, 1)))
	return fmt.Sprintf("%3d %%  [%s]  %s of %s, %s, %s left", bytes*100/b.total, picture,
		size(uint64(bytes)), size(uint64(b.total)), counted(lines, "line"), span(left))
}

// clear takes the bar away.
func (b *bar) clear() {
	if b != nil && b.drawn {
		fmt.Fprint(b.terminal, "\r\x1b[K")
	}
}
