package fail2ban

import "strings"

// above are the comments directly above a line of f, without what marks them.
func (f *ini) above(line int) []string {
	first := line
	for f.comment(first - 1) {
		first--
	}
	return f.paragraph(first, line)
}

// below are the comments below a line, down to where something else begins, and that line.
func (f *ini) below(line int) (comments []string, end int) {
	end = line + 1
	for f.comment(end) || f.empty[end] {
		end++
	}
	return f.paragraph(line+1, end), end
}

// beside is the comment behind what stands in a line.
func (f *ini) beside(line int) []string {
	if behind := trim(f.behind[line]); behind != "" {
		return []string{" " + behind}
	}
	return nil
}

// before are the comments above a line and what is empty among them, up to what is neither.
func (f *ini) before(line int) []string {
	first := line
	for f.comment(first-1) || f.empty[first-1] {
		first--
	}
	return f.paragraph(first, line)
}

// top are the comments above everything else.
func (f *ini) top() []string {
	end := 1
	for f.comment(end) || f.empty[end] {
		end++
	}
	return f.paragraph(1, end)
}

// bottom are the comments below everything else.
func (f *ini) bottom() []string { return f.before(f.lines + 1) }

func (f *ini) comment(line int) bool {
	_, ok := f.comments[line]
	return ok
}

// paragraph are the lines from first to end, which are comments or empty. Empty ones at the
// ends are left out, and of several the others.
func (f *ini) paragraph(first, end int) []string {
	var lines []string
	for n := first; n < end; n++ {
		line := strings.TrimRightFunc(f.comments[n], blank)
		if line != "" || len(lines) > 0 && lines[len(lines)-1] != "" {
			lines = append(lines, line)
		}
	}
	if n := len(lines); n > 0 && lines[n-1] == "" {
		lines = lines[:n-1]
	}
	return lines
}

// fileOf is the file that has a place.
func (c *config) fileOf(at Place) *ini {
	for _, f := range c.read {
		if f.name == at.File {
			return f
		}
	}
	return nil
}

// above are the comments above a place, and the one behind it.
func (c *config) above(at Place) []string {
	f := c.fileOf(at)
	if f == nil {
		return nil
	}
	return append(f.above(at.Line), f.beside(at.Line)...)
}
