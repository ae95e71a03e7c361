package source

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// A modelFile is what is known of a file by whoever wrote it.
type modelFile struct {
	name     string
	read     string // an unfinished line, as the follower last saw it
	unread   string // written since
	size     int
	skipping bool
	met      bool // the follower has seen it at the path
}

// lines is what the follower has to hand over when it looks.
func (m *modelFile) lines() []string {
	text := m.read + m.unread
	m.read, m.unread = "", ""
	var lines []string
	for piece := range strings.SplitAfterSeq(text, "\n") {
		line, whole := strings.CutSuffix(piece, "\n")
		if !m.skipping {
			line = strings.TrimLeft(line, "\x00")
		}
		switch {
		case m.skipping:
			m.skipping = !whole
		case !whole && len(line) > deskMax+1:
			m.skipping = true
		case !whole:
			m.read = line
		case len(strings.TrimSuffix(line, "\r")) <= deskMax:
			lines = append(lines, strings.TrimSuffix(line, "\r"))
		}
	}
	return lines
}

// truncated is the file after a truncation that the follower will notice.
func (m *modelFile) truncated() {
	m.skipping = m.skipping || m.read != ""
	m.read, m.unread, m.size = "", "", 0
}

// A player plays operations on files and on the model, and compares.
type player struct {
	*rig
	files []*modelFile // oldest first; the last is at the path
	turn  int
}

// pieces are what a hostile writer appends; %d makes each differ from all before.
var pieces = []string{
	"%d\n", "%d ", "\n", "\r\n", "%d a\nb\r\n%d half", "\x00\x00\x00", "\x00%d\n", "%d\x00\x00\n", "\xff\xfe%d\n",
	"%d" + strings.Repeat("x", deskMax-8) + "\n", "%d" + strings.Repeat("x", deskMax+1) + "\n",
	strings.Repeat("y", deskMax+1), strings.Repeat("z", 3*deskMax), "%d" + strings.Repeat(" lines\nof", 200) + "\n",
}

func (p *player) piece(op byte) string {
	p.turn++
	return strings.ReplaceAll(pieces[int(op)%len(pieces)], "%d", fmt.Sprint(p.turn))
}

func (p *player) last() *modelFile { return p.files[len(p.files)-1] }

func (p *player) append(m *modelFile, text string) {
	p.write(m.name, text)
	m.unread += text
	m.size += len(text)
}

func (p *player) look() {
	p.Helper()
	var want []string
	for _, file := range p.files {
		want = append(want, file.lines()...)
		file.met = true
	}
	p.step()
	got := []string{}
	for len(p.lines) > 0 {
		got = append(got, <-p.lines)
	}
	if !slices.Equal(got, want) && len(got)+len(want) > 0 {
		p.Fatalf("lines %q, want %q", got, want)
	}
}

// truncate empties the file at the path. What comes after differs from what was there, as
// lines with their times do; so the follower notices even if it looks only later.
func (p *player) truncate(grow bool) {
	file := p.last()
	p.look() // what was not read by now would be lost
	if file.size == 0 {
		return
	}
	offset := file.size - len(file.read)
	p.turn += 2
	p.rig.truncate("log")
	file.truncated()
	if !grow || offset == 0 { // half of the first line leaves no mark: its loss shows in the size
		p.look()
		return
	}
	p.append(file, fmt.Sprintf("%d\n", p.turn-1)+strings.Repeat(fmt.Sprintf("%d new\n", p.turn), 50))
}

func (p *player) rotate(remove bool) {
	old := p.last()
	if !old.met {
		p.look()
	}
	old.name = fmt.Sprint("log.", len(p.files))
	if remove {
		p.look()
		p.remove("log")
		p.files = p.files[:len(p.files)-1]
	} else {
		p.rename("log", old.name)
	}
	p.write("log", "")
	p.files = append(p.files, &modelFile{name: "log"})
}

// hole leaves one in front of a line, as writers do that keep their offset over a truncation.
func (p *player) hole(size int) {
	file := p.last()
	p.must(os.Truncate(p.path("log"), int64(file.size+size)))
	file.unread += strings.Repeat("\x00", size)
	file.size += size
	p.append(file, p.piece(0))
}

func (p *player) play(op byte) {
	switch arg := op >> 3; op & 7 {
	case 0, 1, 2:
		p.append(p.last(), p.piece(arg))
	case 3:
		p.look()
	case 4:
		p.truncate(arg%2 == 0)
	case 5:
		p.rotate(arg%2 == 0)
	case 6:
		p.hole(int(arg) * 100)
	case 7:
		p.append(p.files[int(arg)%len(p.files)], p.piece(arg))
	}
}

// FuzzFollower plays any sequence of operations on a log against the model of what must come.
func FuzzFollower(f *testing.F) {
	f.Add([]byte{0, 3, 5, 7, 3, 0})
	f.Add([]byte{0, 3, 4, 0, 3, 12, 3, 8, 3, 4, 16, 3})
	f.Add([]byte{88, 3, 96, 3, 0, 3, 104, 3})
	f.Add([]byte{6, 30, 0, 46, 3, 8, 254, 3, 16, 3})
	f.Add([]byte{8, 3, 13, 5, 15, 7, 3, 21, 0, 3})
	random := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		ops := make([]byte, 60)
		for i := range ops {
			ops[i] = byte(random.Uint32())
		}
		f.Add(ops)
	}
	f.Fuzz(func(t *testing.T, ops []byte) {
		p := &player{rig: newRig(t, true)}
		p.f.buffers = &buffers{make(chan []byte, 1)}
		p.f.buffers.put(make([]byte, markSize+deskMax+8)) // so small that everything crosses its end
		p.write("log", "")
		p.files = []*modelFile{{name: "log"}}
		p.watch("log")
		for _, op := range ops[:min(len(ops), 60)] {
			if len(p.files) > maxDisplaced {
				break
			}
			p.play(op)
		}
		p.look()
	})
}
