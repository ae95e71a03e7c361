package yamldoc

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// A decoder walks the nodes of one document and the Go value that takes them in parallel.
type decoder struct {
	file string
	errs Errors
}

// A path is the keys that lead to a node; list items are "[1]", "[2]" ...
type path []string

func (p path) key(name string) path { return append(slices.Clip(p), name) }
func (p path) item(i int) path      { return p.key("[" + strconv.Itoa(i+1) + "]") }

// split names the jail in p, if p leads into one, and the key in it.
func (p path) split() (jail, key string) {
	if len(p) >= 2 && p[0] == "jails" {
		jail, p = p[1], p[2:]
	}
	for _, part := range p {
		if key != "" && !strings.HasPrefix(part, "[") {
			key += "."
		}
		key += part
	}
	return jail, key
}

func (d *decoder) fail(line int, p path, msg, hint string) {
	jail, key := p.split()
	d.errs = append(d.errs, &Error{File: d.file, Line: line, Jail: jail, Key: key, Msg: msg, Hint: hint})
}

// located is implemented by *Value.
type located interface {
	locate(file string, line int) (v any)
	read()
}

func (v *Value[T]) locate(file string, line int) any {
	v.File, v.Line = file, line
	return &v.V
}

func (v *Value[T]) read() { v.Set = true }

func (d *decoder) document(root *yaml.Node, v any) {
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		d.fail(0, nil, "holds no document", "")
		return
	}
	d.decode(root, root.Line, nil, reflect.ValueOf(v).Elem())
}

// decode reads n into v and reports whether all of it could be. line is where the user
// would look for n.
func (d *decoder) decode(n *yaml.Node, line int, p path, v reflect.Value) bool {
	if !d.plain(n, line, p) {
		return false
	}
	switch target := v.Addr().Interface().(type) {
	case located:
		inner := reflect.ValueOf(target.locate(d.file, line)).Elem()
		if !d.decode(n, line, p, inner) {
			return false
		}
		target.read()
		return true
	case encoding.TextUnmarshaler:
		return d.text(n, line, p, target)
	}
	switch v.Kind() {
	case reflect.Struct:
		return d.structure(n, line, p, v)
	case reflect.Map:
		return d.mapping(n, line, p, v)
	case reflect.Slice:
		return d.list(n, line, p, v)
	default:
		return d.scalar(n, line, p, v)
	}
}

// plain refuses what we do not take at any place.
func (d *decoder) plain(n *yaml.Node, line int, p path) bool {
	switch {
	case len(p) > maxDepth:
		d.fail(line, p[:1], "nested too deep", "")
	case n.Kind == yaml.AliasNode:
		d.fail(line, p, "aliases are not supported", "write the value out")
	case n.Anchor != "":
		d.fail(line, p, "anchors are not supported", "write the value out where it is needed")
	case n.Style&yaml.TaggedStyle != 0:
		d.fail(line, p, fmt.Sprintf("tags (%s) are not supported", printable(n.Tag)), "quote a text that begins with !")
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		d.fail(line, p, "has no value", "leave the key out to have its default")
	default:
		return true
	}
	return false
}

func (d *decoder) text(n *yaml.Node, line int, p path, v encoding.TextUnmarshaler) bool {
	if n.Kind != yaml.ScalarNode {
		d.fail(line, p, "want a single value, got "+describe(n), "")
		return false
	}
	err := v.UnmarshalText([]byte(n.Value))
	if err == nil {
		return true
	}
	if with := (*Error)(nil); errors.As(err, &with) {
		d.fail(line, p, with.Msg, with.Hint)
	} else {
		d.fail(line, p, err.Error(), "")
	}
	return false
}

func (d *decoder) scalar(n *yaml.Node, line int, p path, v reflect.Value) bool {
	want := ""
	switch v.Kind() {
	case reflect.String:
		if n.Kind == yaml.ScalarNode {
			v.SetString(n.Value)
			return true
		}
		want = "a text"
	case reflect.Bool:
		if on, ok := truth(n); ok {
			v.SetBool(on)
			return true
		}
		want = "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		number, err := strconv.ParseInt(n.Value, 10, v.Type().Bits())
		if n.Kind == yaml.ScalarNode && err == nil {
			v.SetInt(number)
			return true
		}
		want = "a whole number"
		if errors.Is(err, strconv.ErrRange) {
			want = "a smaller number"
		}
	default:
		panic("yamldoc: no way to read into " + v.Type().String())
	}
	d.fail(line, p, "want "+want+", got "+describe(n), "")
	return false
}

// truth reads the words that fail2ban takes too.
func truth(n *yaml.Node) (on, ok bool) {
	if n.Kind != yaml.ScalarNode {
		return false, false
	}
	switch strings.ToLower(n.Value) {
	case "true", "yes", "on":
		return true, true
	case "false", "no", "off":
		return false, true
	}
	return false, false
}

// describe shows what stands at n, in one line.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys"
	case yaml.SequenceNode:
		return "a list"
	}
	const most = 60
	if runes := []rune(n.Value); len(runes) > most {
		return strconv.Quote(string(runes[:most])) + "..."
	}
	return strconv.Quote(n.Value)
}

func (d *decoder) list(n *yaml.Node, line int, p path, v reflect.Value) bool {
	v.SetZero()
	if n.Kind == yaml.ScalarNode {
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		return d.decode(n, line, p, v.Index(0))
	}
	if n.Kind != yaml.SequenceNode {
		d.fail(line, p, "want a list, got "+describe(n), "")
		return false
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	good := true
	for i, item := range n.Content {
		good = d.decode(item, item.Line, p.item(i), v.Index(i)) && good
	}
	return good
}

func (d *decoder) mapping(n *yaml.Node, line int, p path, v reflect.Value) bool {
	if n.Kind != yaml.MappingNode {
		d.fail(line, p, "want keys, got "+describe(n), "")
		return false
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(n.Content)/2))
	return d.pairs(n, p, func(key, value *yaml.Node) bool {
		element := reflect.New(v.Type().Elem()).Elem()
		good := d.decode(value, key.Line, p.key(key.Value), element)
		v.SetMapIndex(reflect.ValueOf(key.Value).Convert(v.Type().Key()), element)
		return good
	})
}

func (d *decoder) structure(n *yaml.Node, line int, p path, v reflect.Value) bool {
	fields := fieldsOf(v)
	if n.Kind == yaml.ScalarNode {
		for _, f := range fields {
			if f.scalar {
				return d.decode(n, line, p, f.value)
			}
		}
	}
	if n.Kind != yaml.MappingNode {
		d.fail(line, p, "want keys, got "+describe(n), "")
		return false
	}
	seen := make(map[string]bool)
	good := d.pairs(n, p, func(key, value *yaml.Node) bool {
		seen[key.Value] = true
		at := slices.IndexFunc(fields, func(f field) bool { return f.name == key.Value })
		if at < 0 {
			d.unknown(key, p, v, fields)
			return false
		}
		return d.decode(value, key.Line, p.key(key.Value), fields[at].value)
	})
	for _, f := range fields {
		if f.required && !seen[f.name] {
			d.fail(line, p.key(f.name), "is missing", "")
			good = false
		}
	}
	return good
}

// pairs calls each with every key and value of the mapping n that is well formed and
// reports whether all were.
func (d *decoder) pairs(n *yaml.Node, p path, each func(key, value *yaml.Node) bool) bool {
	first := make(map[string]int)
	good := true
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		line, twice := first[key.Value]
		switch {
		case key.Kind == yaml.ScalarNode && key.Tag == "!!merge":
			d.fail(key.Line, p, "merge keys (<<) are not supported", "write the keys out")
		case key.Kind != yaml.ScalarNode || key.Value == "" || key.Tag == "!!null":
			d.fail(key.Line, p, "a key must be a word", "")
		case key.Anchor != "" || key.Style&yaml.TaggedStyle != 0:
			d.fail(key.Line, p.key(key.Value), "anchors and tags are not supported", "")
		case twice:
			d.fail(key.Line, p.key(key.Value), fmt.Sprintf("given twice, first on line %d", line), "")
		default:
			first[key.Value] = key.Line
			good = each(key, value) && good
			continue
		}
		good = false
	}
	return good
}

// unknown reports a key that the struct v does not have.
func (d *decoder) unknown(key *yaml.Node, p path, v reflect.Value, fields []field) {
	p = p.key(key.Value)
	if about, ok := v.Addr().Interface().(interface{ UnknownKey(string) (string, string) }); ok {
		if msg, hint := about.UnknownKey(key.Value); msg != "" {
			d.fail(key.Line, p, msg, hint)
			return
		}
	}
	hint := ""
	if near := Near(key.Value, names(fields)); near != "" {
		hint = "did you mean " + near + "?"
	}
	d.fail(key.Line, p, "unknown key", hint)
}

type field struct {
	name             string
	value            reflect.Value
	scalar, required bool
}

// fieldsOf lists the keys of the struct v, those of embedded structs among them.
func fieldsOf(v reflect.Value) []field {
	var fields []field
	for i := range v.NumField() {
		about := v.Type().Field(i)
		if about.Anonymous {
			fields = append(fields, fieldsOf(v.Field(i))...)
			continue
		}
		name, options, _ := strings.Cut(about.Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		fields = append(fields, field{
			name:     name,
			value:    v.Field(i),
			scalar:   options == "scalar",
			required: options == "required",
		})
	}
	return fields
}

// Keys lists the keys that Decode knows in the struct v, those of embedded structs among them.
func Keys(v any) []string {
	return names(fieldsOf(reflect.ValueOf(v)))
}

func names(fields []field) []string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.name
	}
	return list
}
