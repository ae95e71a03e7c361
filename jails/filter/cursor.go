package filter

// A cursor reads text from its start. What it wants and does not find makes it bad.
type cursor struct {
	text  []byte
	at    int
	bad   bool
	far   int // how many bytes it has looked at
	timed int // where the time of the day ends
}

// peek is the byte n bytes ahead; 0 behind the end.
func (c *cursor) peek(n int) byte {
	c.far = max(c.far, c.at+n+1)
	if c.at+n < len(c.text) {
		return c.text[c.at+n]
	}
	return 0
}

func (c *cursor) digit() bool { return isDigit(c.peek(0)) }

// ends reports whether the date could end here.
func (c *cursor) ends() bool { return !c.bad && !isAlnum(c.peek(0)) }

func (c *cursor) take(b byte) bool {
	if c.peek(0) == b && c.at < len(c.text) {
		c.at++
		return true
	}
	return false
}

func (c *cursor) want(b byte) {
	if !c.take(b) {
		c.bad = true
	}
}

// number reads a number of exactly width digits.
func (c *cursor) number(width int) int {
	n := 0
	for range width {
		if !c.digit() {
			c.bad = true
			return 0
		}
		n = 10*n + int(c.text[c.at]-'0')
		c.at++
	}
	return n
}

// month reads "Nov "; 0: there is none.
func (c *cursor) month() int {
	if c.peek(3) != ' ' {
		return 0
	}
	n := 0
	switch string(c.text[c.at : c.at+3]) {
	case "Jan":
		n = 1
	case "Feb":
		n = 2
	case "Mar":
		n = 3
	case "Apr":
		n = 4
	case "May":
		n = 5
	case "Jun":
		n = 6
	case "Jul":
		n = 7
	case "Aug":
		n = 8
	case "Sep":
		n = 9
	case "Oct":
		n = 10
	case "Nov":
		n = 11
	case "Dec":
		n = 12
	}
	c.at += len("Nov ")
	return n
}

// weekday skips "Mon ".
func (c *cursor) weekday() bool {
	if c.peek(3) != ' ' {
		return false
	}
	switch string(c.text[c.at : c.at+3]) {
	case "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun":
		c.at += len("Mon ")
		return true
	}
	return false
}

// day reads " 9 ", "9 " or "09 ".
func (c *cursor) day(r *reading) bool {
	padded := c.take(' ')
	width := 1
	if !padded && isDigit(c.peek(1)) {
		width = 2
	}
	r.day = c.number(width)
	c.want(' ')
	return !c.bad
}

// clock reads "18:47:21" and a fraction of the second behind a dot or a comma.
func (c *cursor) clock(r *reading) bool {
	r.hour = c.number(2)
	c.want(':')
	r.minute = c.number(2)
	c.want(':')
	r.second = c.number(2)
	if mark := c.peek(0); (mark == '.' || mark == ',') && isDigit(c.peek(1)) {
		c.at++
		r.nano = c.fraction()
	}
	c.timed = c.at
	return !c.bad
}

// fraction reads a fraction of a second as nanoseconds; further digits are skipped.
func (c *cursor) fraction() int {
	n, weight := 0, 100_000_000
	for c.digit() {
		n += weight * int(c.text[c.at]-'0')
		weight /= 10
		c.at++
	}
	return n
}

// zone reads Z, +01, +0100 or +01:00; false: there is none.
func (c *cursor) zone(r *reading) bool {
	if c.take('Z') {
		r.zoned = true
		return true
	}
	sign := 1
	if c.take('-') {
		sign = -1
	} else if !c.take('+') {
		return false
	}
	hours, minutes := c.number(2), 0
	if c.take(':') || c.digit() {
		minutes = c.number(2)
	}
	if c.bad || hours > 23 || minutes > 59 {
		return false
	}
	r.zoned, r.offset = true, sign*(hours*60+minutes)*60
	return true
}
