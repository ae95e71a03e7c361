package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A fileID names a file whatever its path is.
type fileID struct{ dev, ino uint64 }

// A position is where reading goes on.
type position struct {
	offset   int64 // where the next line begins, or where the rest of a skipped one goes on
	skipping bool  // the line at offset has no known beginning: nothing of it is handed over
	mark     mark
}

// A tail is one open file and how far it has been read. It keeps nothing of an unfinished
// line: offset stays at the line's beginning until its newline is there.
type tail struct {
	file *os.File
	id   fileID
	position
	maxLine  int
	size     int64     // when last looked at
	shrunk   bool      // it was larger before that
	unlinked bool      // the file has no name left
	grown    time.Time // when size last changed
	torn     bool      // an unfinished line stands at offset
	caughtUp bool      // the end had been reached before anything from offset on was written
	count    *counts

	// The follower's part, under its mutex.
	wd    int // its inotify watch; -1: none
	owner *stream

	// The stream's part, under its mutex.
	polling   string    // why there is none
	displaced time.Time // when another file took its path
	wanted    bool      // the stream of another path waits for it
}

// counts are the numbers of one stream, over all its files.
type counts struct {
	lines   uint64 // handed over
	long    uint64 // dropped: longer than MaxLine
	torn    uint64 // dropped: beginning or end lost by a truncation or a rotation
	skipped uint64 // bytes left out because the file was too far behind
	restart uint64 // times that a file was truncated and read from its beginning again
}

// openTail opens a regular file at its beginning. Anything else is refused without being
// opened, and without waiting for the other end of a pipe should one be put there meanwhile.
func openTail(path string, maxLine int, count *counts) (*tail, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	if err := regular(path, &stat); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	t := &tail{file: file, maxLine: maxLine, count: count, wd: -1}
	if err := t.identify(path); err != nil {
		file.Close()
		return nil, err
	}
	return t, nil
}

func (t *tail) identify(path string) error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(t.file.Fd()), &stat); err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	t.id = identity(&stat)
	return regular(path, &stat)
}

func identity(stat *unix.Stat_t) fileID { return fileID{stat.Dev, stat.Ino} }

// kinds are the files that hold no lines, or would have their reader wait.
var kinds = map[uint32]string{
	unix.S_IFDIR: "a directory", unix.S_IFIFO: "a named pipe", unix.S_IFSOCK: "a socket",
	unix.S_IFCHR: "a device", unix.S_IFBLK: "a device",
}

func regular(path string, stat *unix.Stat_t) error {
	if kind := kinds[stat.Mode&unix.S_IFMT]; kind != "" {
		return fmt.Errorf("open %s: is %s", path, kind)
	}
	return nil
}

// look measures the file. What is written later is not part of the size it leaves.
func (t *tail) look(now time.Time) error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(t.file.Fd()), &stat); err != nil {
		return fmt.Errorf("look at %s: %w", t.file.Name(), err)
	}
	t.unlinked = stat.Nlink == 0
	t.shrunk = stat.Size < t.size
	if stat.Size != t.size || t.grown.IsZero() {
		t.size, t.grown = stat.Size, now
	}
	return nil
}

// seek moves to the last line that begins before end. It reads backwards from there, because
// a line that is only half written begins before end and must not be taken for two.
func (t *tail) seek(end int64, buf []byte) error {
	from := max(0, end-int64(t.maxLine)-2)
	n, err := readAt(t.file, buf[:end-from], from)
	if err != nil {
		return err
	}
	begin := bytes.LastIndexByte(buf[:n], '\n') + 1
	t.skipping = begin == 0 && from > 0
	if t.skipping {
		begin = n
		t.count.long++
	}
	t.offset = from + int64(begin)
	t.mark.set(buf[:begin])
	t.caughtUp = true
	return nil
}

// resume moves to where a file was left, if it is still that file: another may have got its
// inode, and then it is read from its beginning.
func (t *tail) resume(at position, buf []byte) error {
	if at.offset > t.size {
		return nil
	}
	if at.mark.n == 0 {
		return t.seek(at.offset, buf)
	}
	n, err := readAt(t.file, buf[:at.mark.n], at.offset-int64(at.mark.n))
	if n == at.mark.n && at.mark.matches(buf) {
		t.position = at
	}
	return err
}

// read hands over the finished lines between the offset and the size that look left, as many
// as the buffer holds, and reports whether there may be more.
//
// It reads again the bytes before the offset: if they are not those that were there, the file
// was truncated and has grown past the offset since, and everything in it is new.
func (t *tail) read(buf []byte, deliver func(line []byte, live bool)) (more bool, err error) {
	if t.truncated() {
		t.restart()
		return true, nil
	}
	from := t.offset - int64(t.mark.n)
	n, err := readAt(t.file, buf[:min(int64(len(buf)), t.size-from)], from)
	if err != nil {
		return false, err
	}
	if n < t.mark.n || !t.mark.matches(buf) {
		t.restart()
		return true, nil
	}
	used := t.mark.n + t.lines(buf[t.mark.n:n], deliver)
	t.mark.set(buf[:used])
	t.offset = from + int64(used)
	if end := from + int64(n); end < t.size && n == len(buf) {
		t.leap(end, buf[n-1])
		return true, nil
	}
	t.caughtUp = true
	return false, nil
}

// truncated tells by the sizes alone. A file that was cut behind the offset goes on there: its
// writer took back half a line. Before the first line's end nothing else would tell.
func (t *tail) truncated() bool {
	return t.size < t.offset || t.shrunk && t.torn && t.offset == 0
}

// lines hands over the lines of data and returns how much of it will not be needed again.
func (t *tail) lines(data []byte, deliver func(line []byte, live bool)) int {
	used := t.skip(data)
	for used < len(data) {
		if data[used] == 0 { // a hole that a truncation left in front of the line
			used++
			continue
		}
		end := bytes.IndexByte(data[used:], '\n')
		if end < 0 {
			break
		}
		t.line(data[used:used+end], deliver)
		used += end + 1
	}
	rest := len(data) - used
	t.torn = rest > 0
	if rest > t.maxLine+1 { // one more: a CR may be the last
		t.count.long++
		t.skipping, t.torn = true, false
		return len(data)
	}
	return used
}

// skip passes over the rest of a line that is not to be handed over.
func (t *tail) skip(data []byte) int {
	if !t.skipping {
		return 0
	}
	end := bytes.IndexByte(data, '\n')
	if end < 0 {
		return len(data)
	}
	t.skipping = false
	return end + 1
}

func (t *tail) line(line []byte, deliver func(line []byte, live bool)) {
	if last := len(line) - 1; last >= 0 && line[last] == '\r' {
		line = line[:last]
	}
	if len(line) > t.maxLine {
		t.count.long++
		return
	}
	t.count.lines++
	deliver(line, t.caughtUp)
}

// restart begins at the first byte again. Was a line only half written when the file was
// truncated, then what stands first now may be its other half, in which whoever wrote the
// line has put a beginning of his own: it is dropped.
func (t *tail) restart() {
	t.count.restart++
	if t.torn {
		t.count.torn++
	}
	t.position = position{skipping: t.skipping || t.torn}
	t.torn = false
}

// leap passes over a hole without reading it, if the last byte read was in one: a writer that
// keeps its offset over a truncation leaves a hole as long as the log was.
func (t *tail) leap(end int64, last byte) {
	if last != 0 || t.offset != end {
		return
	}
	data, err := unix.Seek(int(t.file.Fd()), t.offset, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		data = t.size
	case err != nil: // a file system that knows no holes: they are read
		return
	}
	data = min(data, t.size)
	if data-t.offset < markSize {
		return
	}
	t.offset = data
	t.mark = mark{n: markSize}
}

// markSize is how many bytes before the offset are remembered. A line of a log with its time
// and port in it is shorter, so that two different logs hardly agree in them.
const markSize = 256

// A mark is what stood right before an offset.
type mark struct {
	n     int
	bytes [markSize]byte
}

// set remembers the end of what has been read.
func (m *mark) set(read []byte) {
	m.n = copy(m.bytes[:], read[max(0, len(read)-markSize):])
}

// matches reports whether data begins with the mark.
func (m *mark) matches(data []byte) bool {
	return bytes.Equal(m.bytes[:m.n], data[:m.n])
}

// readAt fills buf as far as the file goes; the end of the file is no error.
func readAt(file *os.File, buf []byte, offset int64) (int, error) {
	n, err := file.ReadAt(buf, offset)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}
