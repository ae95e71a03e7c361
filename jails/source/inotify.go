package source

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel is asked directly, not through fsnotify: that asks for every write to every file
// of a directory, cannot watch the file that is open instead of whatever its path names by
// then, and makes a string and a channel operation out of each event.

// What changes the outcome of looking up a name in a directory.
const dirEvents = unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE | unix.IN_ATTRIB |
	unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR

// What says that a directory is not what it was, whatever the name in the event.
const dirGone = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_UNMOUNT

// An inotify is one kernel queue of changes to files and directories.
type inotify struct {
	fd   int
	file *os.File // the same descriptor, for reads that close ends
	add  func(fd int, path string, mask uint32) (wd int, err error)
}

func openInotify() (*inotify, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open inotify: %w", err)
	}
	return &inotify{fd, os.NewFile(uintptr(fd), "inotify"), unix.InotifyAddWatch}, nil
}

// addDir watches the names in the directory at path.
func (i *inotify) addDir(path string) (int, error) {
	wd, err := i.add(i.fd, path, dirEvents)
	if err != nil {
		return -1, fmt.Errorf("watch %s: %w", path, err)
	}
	return wd, nil
}

// addFile watches for writes to the file that is open, which its path may not name any more.
func (i *inotify) addFile(file *os.File) (int, error) {
	link := "/proc/self/fd/" + strconv.Itoa(int(file.Fd()))
	wd, err := i.add(i.fd, link, unix.IN_MODIFY)
	if err != nil {
		return -1, fmt.Errorf("watch %s: %w", file.Name(), err)
	}
	return wd, nil
}

// remove ends a watch; one that ended by itself is no error.
func (i *inotify) remove(wd int) { unix.InotifyRmWatch(i.fd, uint32(wd)) }

func (i *inotify) close() { i.file.Close() }

// Where every write wakes a reader, a busy log costs more in wake-ups than in lines. If events
// come closer together than `crowded`, the next ones are left to gather for `gather`: short
// against the millisecond in which a ban is due.
const (
	crowded = 100 * time.Microsecond
	gather  = 250 * time.Microsecond
)

// events calls each for every event until the queue is closed.
func (i *inotify) events(each func(wd int, mask uint32, name []byte)) error {
	buf := make([]byte, 64<<10)
	for last := time.Now(); ; last = time.Now() {
		n, err := i.file.Read(buf)
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read inotify: %w", err)
		}
		split(buf[:n], each)
		if time.Since(last) < crowded {
			pause(gather)
		}
	}
}

// split takes apart what the kernel put into one read: struct inotify_event, inotify(7).
func split(data []byte, each func(wd int, mask uint32, name []byte)) {
	for len(data) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(data))
		mask := binary.NativeEndian.Uint32(data[4:])
		size := binary.NativeEndian.Uint32(data[12:])
		data = data[unix.SizeofInotifyEvent:]
		if uint64(size) > uint64(len(data)) {
			return
		}
		each(int(wd), mask, unpad(data[:size]))
		data = data[size:]
	}
}

// unpad takes off the NULs that align the next event.
func unpad(name []byte) []byte {
	for len(name) > 0 && name[len(name)-1] == 0 {
		name = name[:len(name)-1]
	}
	return name
}

// pause sleeps by the kernel's timer: the runtime's rounds up to a millisecond.
func pause(d time.Duration) {
	rest := unix.NsecToTimespec(d.Nanoseconds())
	unix.Nanosleep(&rest, nil)
}

// remote names the file systems on which others write without inotify telling.
// Numbers: statfs(2), linux/magic.h.
func remote(file *os.File) string {
	var stat unix.Statfs_t
	if err := unix.Fstatfs(int(file.Fd()), &stat); err != nil {
		return ""
	}
	return map[uint32]string{
		unix.NFS_SUPER_MAGIC: "nfs", unix.SMB_SUPER_MAGIC: "smb", unix.CIFS_SUPER_MAGIC: "cifs",
		unix.SMB2_SUPER_MAGIC: "smb", unix.FUSE_SUPER_MAGIC: "fuse", unix.V9FS_MAGIC: "9p",
		unix.CEPH_SUPER_MAGIC: "ceph", unix.AFS_SUPER_MAGIC: "afs", unix.CODA_SUPER_MAGIC: "coda",
	}[uint32(stat.Type)]
}
