package source

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A desk is a tail on a file of its own, read step by step.
type desk struct {
	t    *testing.T
	path string
	tail *tail
	got  []string
	buf  []byte
}

const deskMax = 64

func newDesk(t *testing.T, content string) *desk {
	t.Helper()
	d := &desk{t: t, path: filepath.Join(t.TempDir(), "log"), buf: make([]byte, markSize+deskMax+8)}
	d.write(os.O_CREATE, content)
	tail, err := openTail(d.path, deskMax, &counts{})
	if err != nil {
		t.Fatal(err)
	}
	d.tail = tail
	t.Cleanup(func() { tail.file.Close() })
	return d
}

func (d *desk) write(flags int, content string) {
	d.t.Helper()
	write(d.t, d.path, flags, content)
}

func (d *desk) read() []string {
	d.t.Helper()
	if err := d.tail.look(time.Unix(1, 0)); err != nil {
		d.t.Fatal(err)
	}
	d.got = nil
	for more := true; more; {
		var err error
		more, err = d.tail.read(d.buf, func(line []byte, _ bool) { d.got = append(d.got, string(line)) })
		if err != nil {
			d.t.Fatal(err)
		}
	}
	return d.got
}

func (d *desk) wants(want ...string) {
	d.t.Helper()
	if got := d.read(); !slices.Equal(got, want) {
		d.t.Fatalf("lines %q, want %q", got, want)
	}
}

func (d *desk) counted(want counts) {
	d.t.Helper()
	if *d.tail.count != want {
		d.t.Errorf("counts %+v, want %+v", *d.tail.count, want)
	}
}

func (d *desk) truncate() {
	d.t.Helper()
	if err := os.Truncate(d.path, 0); err != nil {
		d.t.Fatal(err)
	}
}

// write appends to path, or does as flags say.
func write(t testing.TB, path string, flags int, content string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|flags, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(content); err != nil {
		t.Fatal(err)
	}
}

func TestLinesAreHandedOverAsTheyStand(t *testing.T) {
	long := strings.Repeat("x", deskMax)
	tests := []struct {
		name, content string
		want          []string
		counts        counts
	}{
		{"one", "a\n", []string{"a"}, counts{lines: 1}},
		{"empty lines", "\n\na\n", []string{"", "", "a"}, counts{lines: 3}},
		{"CRLF", "a\r\nb\r\n", []string{"a", "b"}, counts{lines: 2}},
		{"CR alone is no end", "a\rb\r\r\n", []string{"a\rb\r"}, counts{lines: 1}},
		{"invalid UTF-8", "\xff\xfe\xc3(\n", []string{"\xff\xfe\xc3("}, counts{lines: 1}},
		{"NUL in front", "\x00\x00\x00a\n", []string{"a"}, counts{lines: 1}},
		{"NUL inside divides nothing", "a\x00\x00b\n", []string{"a\x00\x00b"}, counts{lines: 1}},
		{"half", "a\nb", []string{"a"}, counts{lines: 1}},
		{"as long as may be", long + "\n" + long + "\r\n", []string{long, long}, counts{lines: 2}},
		{"too long", long + "x\na\n", []string{"a"}, counts{lines: 1, long: 1}},
		{"longer than the buffer", strings.Repeat(long, 100) + "\na\n", []string{"a"}, counts{lines: 1, long: 1}},
		{"more than the buffer", strings.Repeat("ab\n", 1000), slices.Repeat([]string{"ab"}, 1000), counts{lines: 1000}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk(t, test.content)
			d.wants(test.want...)
			d.counted(test.counts)
			d.wants()
		})
	}
}

func TestHalfLineWaitsForItsNewline(t *testing.T) {
	d := newDesk(t, "from 192.0.2.1")
	d.wants()
	d.write(0, "7 port 22")
	d.wants()
	d.write(0, "\nnext\n")
	d.wants("from 192.0.2.17 port 22", "next")
}

// Whatever stands after the limit in a long line must not become the beginning of another.
func TestLongLineInPiecesIsDroppedWhole(t *testing.T) {
	d := newDesk(t, "a\n"+strings.Repeat("x", deskMax+2))
	d.wants("a")
	for range 5 {
		d.write(0, "Failed password for root from 198.51.100.1"+strings.Repeat("y", deskMax))
		d.wants()
	}
	d.write(0, "Failed password for root from 198.51.100.1\nb\n")
	d.wants("b")
	d.counted(counts{lines: 2, long: 1})
}

func TestTruncatedFileIsReadFromItsBeginning(t *testing.T) {
	d := newDesk(t, "a\nb\n")
	d.wants("a", "b")
	d.truncate()
	d.write(0, "c\n")
	d.wants("c")
	d.counted(counts{lines: 3, restart: 1})
}

func TestFileThatGrewPastTheOffsetAfterTruncationIsNew(t *testing.T) {
	d := newDesk(t, "first\nsecond\n")
	d.wants("first", "second")
	d.truncate()
	d.write(0, "other\nlines\nand more of them\n")
	d.wants("other", "lines", "and more of them")
}

func TestFileThatGrewToTheSameSizeAfterTruncationIsNew(t *testing.T) {
	d := newDesk(t, "ab\n")
	d.wants("ab")
	d.truncate()
	d.write(0, "cd\n")
	d.wants("cd")
}

// The writer goes on with the other half of a line: it has no beginning.
func TestLineCutByTruncationIsDropped(t *testing.T) {
	d := newDesk(t, "a\nuser ")
	d.wants("a")
	d.truncate()
	d.write(0, "Failed password for root from 198.51.100.1\nb\n")
	d.wants("b")
	d.counted(counts{lines: 2, torn: 1, restart: 1})
}

func TestFirstLineCutByTruncationIsDropped(t *testing.T) {
	d := newDesk(t, "user ")
	d.wants()
	d.truncate()
	d.wants()
	d.write(0, "Failed password for root from 198.51.100.1\nb\n")
	d.wants("b")
	d.counted(counts{lines: 1, torn: 1, restart: 1})
}

func TestWriterTakesBackHalfALine(t *testing.T) {
	d := newDesk(t, "a\nhal")
	d.wants("a")
	if err := os.Truncate(d.path, 2); err != nil {
		t.Fatal(err)
	}
	d.wants()
	d.write(0, "b\n")
	d.wants("b")
}

// Without O_APPEND a writer goes on at its old offset, behind a hole.
func TestHoleAfterTruncationIsSkipped(t *testing.T) {
	d := newDesk(t, "")
	writer, err := os.OpenFile(d.path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	steps := []string{strings.Repeat("before\n", 400), "after\n", "more\n"}
	writer.WriteString(steps[0])
	d.wants(slices.Repeat([]string{"before"}, 400)...)
	d.truncate()
	writer.WriteString(steps[1])
	d.wants("after")
	writer.WriteString(steps[2])
	d.wants("more")
}

// A terabyte of nothing takes no time.
func TestVastHoleIsNotRead(t *testing.T) {
	d := newDesk(t, "a\n")
	d.wants("a")
	if err := os.Truncate(d.path, 1<<40); err != nil {
		t.Skip("no sparse files of this size here:", err)
	}
	if !holes(d.path) {
		t.Skip("the file system does not tell of holes")
	}
	d.wants()
	d.write(0, "b\n")
	d.wants("b")
}

func holes(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer file.Close()
	_, err = unix.Seek(int(file.Fd()), 1<<20, unix.SEEK_DATA)
	return err == unix.ENXIO
}

func TestFollowingFromTheEndBeginsWithAWholeLine(t *testing.T) {
	tests := []struct {
		name, before, after string
		want                []string
		long                uint64
	}{
		{"empty", "", "a\n", []string{"a"}, 0},
		{"after a line", "old\n", "a\n", []string{"a"}, 0},
		{"within a line", "old\nhal", "f\na\n", []string{"half", "a"}, 0},
		{"within the first line", "hal", "f\na\n", []string{"half", "a"}, 0},
		{"within a long line", "old\n" + strings.Repeat("x", 3*deskMax), "y\na\n", []string{"a"}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk(t, test.before)
			if err := d.tail.seek(int64(len(test.before)), d.buf); err != nil {
				t.Fatal(err)
			}
			d.wants()
			d.write(0, test.after)
			d.wants(test.want...)
			d.counted(counts{lines: uint64(len(test.want)), long: test.long})
		})
	}
}

func TestFileIsResumedOnlyIfItIsStillTheSame(t *testing.T) {
	left := position{offset: 6}
	left.mark.set([]byte("a\nb\nc\n"))
	long := left
	long.skipping = true
	tests := []struct {
		name, content string
		left          position
		want          []string
	}{
		{"the same", "a\nb\nc\nd\n", left, []string{"d"}},
		{"within a long line", "a\nb\nc\nd\ne\n", long, []string{"e"}},
		{"another with its inode", "new\nlines\n", long, []string{"new", "lines"}},
		{"a shorter one with its inode", "new\n", long, []string{"new"}},
		{"known by its size alone", "a\nb\nc\nd\n", position{offset: 6}, []string{"d"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk(t, test.content)
			d.tail.look(time.Unix(1, 0))
			if err := d.tail.resume(test.left, d.buf); err != nil {
				t.Fatal(err)
			}
			d.wants(test.want...)
		})
	}
}

func TestLiveBeginsAtTheEnd(t *testing.T) {
	d := newDesk(t, strings.Repeat("old\n", 200))
	var lives []bool
	read := func() {
		d.tail.look(time.Unix(1, 0))
		for more := true; more; {
			more, _ = d.tail.read(d.buf, func(_ []byte, live bool) { lives = append(lives, live) })
		}
	}
	read()
	d.write(0, "new\n")
	read()
	if want := append(slices.Repeat([]bool{false}, 200), true); !slices.Equal(lives, want) {
		t.Errorf("live %v, want %v", lives, want)
	}
}

func TestOnlyRegularFilesAreOpened(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ path, want string }{
		{dir, "open " + dir + ": is a directory"},
		{pipe, "open " + pipe + ": is a named pipe"},
		{"/dev/zero", "open /dev/zero: is a device"},
		{dir + "/no", "open " + dir + "/no: no such file or directory"},
	}
	for _, test := range tests {
		if _, err := openTail(test.path, deskMax, &counts{}); err == nil || err.Error() != test.want {
			t.Errorf("open %s: %v, want %s", test.path, err, test.want)
		}
	}
}
