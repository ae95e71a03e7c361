// Package yamldoc reads YAML strictly: what a document says has a place in the struct that
// takes it, or it is an error with its line, and all errors are found at once.
//
// The YAML that it takes is plain: mappings with words as keys, lists and scalars. Anchors,
// aliases, merge keys and tags are refused, so a small file cannot become a large document.
package yamldoc

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"xdpban/internal/lazy"
)

const (
	// MaxSize is the size of the largest document that is read, in bytes.
	MaxSize = 4 << 20
	// maxDepth is how deep a document may nest; our own go to 5.
	maxDepth = 32
	// maxErrors is how many errors are told; nobody reads more at once.
	maxErrors = 100
)

// A Value is what a document says at one place, for settings whose meaning is checked
// later: the check can say where it stood.
type Value[T any] struct {
	V    T
	File string
	Line int  // of the key, or of the item in a list; 0: not in the document
	Set  bool // V was read; false with a Line: what stands there is an error already
}

// Error is an error at v's place.
func (v Value[T]) Error(key, msg, hint string) *Error {
	return &Error{File: v.File, Line: v.Line, Key: key, Msg: msg, Hint: hint}
}

// Decode reads data, exactly one document, into the struct that v points to. Keys are the
// fields' `yaml:"name"` tags; embedded structs are part of the one around them. Fields
// are strings, whole numbers, booleans, Values, structs, slices, maps with string keys and
// whatever has UnmarshalText (its *Error gives Msg and Hint). Three more rules:
//
//   - a scalar where a list is due is a list of one;
//   - a scalar where a struct is due sets its field tagged `yaml:"name,scalar"`, if any;
//   - a field tagged `yaml:"name,required"` must be there.
//
// A struct with the method UnknownKey(key string) (msg, hint string) may say more about
// keys that it does not have; an empty msg leaves it at "unknown key".
//
// The error is an Errors; what could be read is in v all the same, so that the caller can
// go on to find what else is wrong. file is used in errors alone.
func Decode(file string, data []byte, v any) error {
	d := &decoder{file: file}
	if root := d.parse(data); root != nil {
		d.document(root, v)
	}
	if more := len(d.errs) - maxErrors; more > 0 {
		d.errs = d.errs[:maxErrors]
		d.fail(0, nil, "and "+strconv.Itoa(more)+" more errors", "")
	}
	return d.errs.Err()
}

// parse gives the document's root, or nil and leaves an error.
func (d *decoder) parse(data []byte) *yaml.Node {
	if len(data) > MaxSize {
		d.fail(0, nil, "larger than "+strconv.Itoa(MaxSize>>20)+" MiB", "")
		return nil
	}
	if line, msg := notText(data); msg != "" {
		d.fail(line, nil, msg, "")
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	err := next(dec, &doc)
	if errors.Is(err, io.EOF) {
		d.fail(0, nil, "holds no document", "")
		return nil
	}
	if err != nil {
		d.syntax(data, err)
		return nil
	}
	err = next(dec, &second)
	if err != nil && !errors.Is(err, io.EOF) {
		d.syntax(data, err)
		return nil
	}
	if err == nil {
		d.fail(second.Line, nil, "second document in one file", "remove the line ---, or make it two files")
	}
	return doc.Content[0]
}

// next reads one document. The YAML reader panics on some malformed input; to whoever
// wrote the file that is a syntax error like others.
func next(dec *yaml.Decoder, doc *yaml.Node) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("yaml: not YAML")
		}
	}()
	return dec.Decode(doc)
}

// notText finds the first thing in data that no text file holds.
func notText(data []byte) (line int, msg string) {
	at, msg := bytes.IndexByte(data, 0), "holds a NUL byte"
	if at < 0 {
		if utf8.Valid(data) {
			return 0, ""
		}
		at, msg = invalid(data), "is not UTF-8"
	}
	return 1 + bytes.Count(data[:at], []byte("\n")), msg
}

// invalid is the place of the first byte that is not UTF-8.
func invalid(data []byte) int {
	at := 0
	for at < len(data) {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	return at
}

var syntaxError = lazy.Regexp(`(?s)^yaml: (?:line (\d+): )?(.*)$`)

// syntax turns an error of the YAML reader into ours.
func (d *decoder) syntax(data []byte, err error) {
	line, msg := 0, err.Error()
	if m := syntaxError.Get().FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		msg = m[2]
	}
	if line > 0 && strings.HasPrefix(msg, "did not find expected") {
		line++ // the reader's parser counts these from 0, its scanner counts from 1
	}
	if tab := indentingTab(data); tab > 0 && (strings.Contains(msg, "cannot start any token") || strings.Contains(msg, "tab character")) {
		d.fail(tab, nil, "indented with a tab", "use spaces")
		return
	}
	d.fail(line, nil, "not YAML: "+msg, "")
}

// indentingTab is the first line whose indentation holds a tab; 0: none does.
func indentingTab(data []byte) int {
	number := 0
	for line := range bytes.Lines(data) {
		number++
		text := bytes.TrimLeft(line, " \t\r\n")
		if len(text) > 0 && bytes.IndexByte(line[:len(line)-len(text)], '\t') >= 0 {
			return number
		}
	}
	return 0
}
