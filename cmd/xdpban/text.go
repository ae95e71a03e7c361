package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// safe makes text from a log fit for a terminal. What does not print (control characters,
// invalid UTF-8, what turns the direction of writing) is escaped.
func safe(text string) string {
	var b strings.Builder
	for text != "" {
		r, width := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && width == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
		text = text[width:]
	}
	return b.String()
}

// writeJSON prints v and a newline.
func writeJSON(w io.Writer, v any, indent string) error {
	text, err := textJSON(v, "", indent)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// textJSON is v and a newline. JSON lets characters through that do not print, as terminals
// take for commands (U+009B) or that turn the direction of writing (U+202E): these are escaped.
func textJSON(v any, prefix, indent string) ([]byte, error) {
	text := new(bytes.Buffer)
	encoder := json.NewEncoder(text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent(prefix, indent)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return escapeJSON(text.Bytes()), nil
}

// appendJSON appends what writeJSON writes for v, which can be written.
func appendJSON(to []byte, v any) []byte {
	if text, ok := v.(string); ok && isPlain(text) {
		return append(append(append(to, '"'), text...), '"')
	}
	var text bytes.Buffer
	writeJSON(&text, v, "") //nolint:errcheck // a text, or a list of texts
	return append(to, bytes.TrimSuffix(text.Bytes(), []byte("\n"))...)
}

// isPlain reports whether JSON writes text as it is.
func isPlain(text string) bool {
	for i := range len(text) {
		if b := text[i]; b < ' ' || b > '~' || b == '"' || b == '\\' {
			return false
		}
	}
	return true
}

func escapeJSON(text []byte) []byte {
	escaped := make([]byte, 0, len(text))
	for _, r := range string(text) {
		switch {
		case unicode.IsPrint(r), r == '\n':
			escaped = utf8.AppendRune(escaped, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			escaped = fmt.Appendf(escaped, `\u%04x\u%04x`, high, low)
		default:
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		}
	}
	return escaped
}

// printTable prints rows, which may be of different lengths, in columns.
func printTable(w io.Writer, rows [][]string) {
	for _, line := range columns(rows) {
		fmt.Fprintln(w, line)
	}
}

// columns is rows, which may be of different lengths, as lines with their cells aligned.
func columns(rows [][]string) []string {
	widths := widen(nil, rows)
	lines := make([]string, len(rows))
	for n, row := range rows {
		lines[n] = aligned(row, widths)
	}
	return lines
}

// widen makes widths of columns wide enough for rows.
func widen(widths []int, rows [][]string) []int {
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

// aligned is row as a line whose columns have these widths.
func aligned(row []string, widths []int) string {
	var line strings.Builder
	for i, cell := range row {
		line.WriteString(cell)
		for range widths[i] - utf8.RuneCountInString(cell) + 2 {
			line.WriteByte(' ')
		}
	}
	return strings.TrimRight(line.String(), " ")
}

// short is a prefix as people write it: an address without its full length.
func short(prefix netip.Prefix) string {
	if prefix.IsSingleIP() {
		return prefix.Addr().String()
	}
	return prefix.String()
}

// span is a length of time in its two largest units: "2h13m", "5d3h", "12s".
func span(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	units := []struct {
		name   string
		length time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		if d < u.length {
			continue
		}
		text := fmt.Sprintf("%s%d%s", sign, d/u.length, u.name)
		if i+1 < len(units) {
			if rest := d % u.length / units[i+1].length; rest > 0 {
				text += fmt.Sprintf("%d%s", rest, units[i+1].name)
			}
		}
		return text
	}
	return "0s"
}

// ago is when t was, seen from now; never is for the zero time.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	if now.Sub(t) < time.Second {
		return "now"
	}
	return span(now.Sub(t)) + " ago"
}

// number groups the digits of n, which is not negative, by thousands.
func number[N int | int64 | uint32 | uint64](n N) string {
	digits := strconv.FormatUint(uint64(n), 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// counted is n things: "1 line", "2 lines".
func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return number(n) + " " + thing
}

// size is a number of bytes in its largest decimal unit.
func size(n uint64) string {
	units := []string{"B", "kB", "MB", "GB", "TB", "PB", "EB"}
	value, unit := float64(n), 0
	for value >= 999.5 && unit < len(units)-1 {
		value /= 1000
		unit++
	}
	if unit == 0 || value >= 99.95 {
		return fmt.Sprintf("%.0f %s", value, units[unit])
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
