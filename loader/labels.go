package loader

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
)

// A label is why a ban was made.
type label struct{ jail, reason string }

// labels numbers the jails and reasons of bans, for the kernel to keep until a later
// daemon asks.
type labels struct {
	m     *ebpf.Map
	names map[uint32]label
	ids   map[label]uint32
	next  uint32
}

// readLabels reads those that the kernel has.
func readLabels(m *ebpf.Map) (labels, error) {
	ls := labels{m: m, names: make(map[uint32]label), ids: make(map[label]uint32), next: 1}
	var id uint32
	var v xdpbanLabel
	entries := m.Iterate()
	for entries.Next(&id, &v) {
		ls.next = max(ls.next, id+1)
		ls.keep(id, labelOf(&v))
	}
	if err := entries.Err(); err != nil {
		return ls, fmt.Errorf("read labels: %w", err)
	}
	return ls, nil
}

// keepOnly deletes the labels that no ban uses.
func (ls *labels) keepOnly(used map[uint32]bool) error {
	for id, why := range ls.names {
		if used[id] {
			continue
		}
		if err := ls.m.Delete(id); err != nil {
			return fmt.Errorf("delete label %d: %w", id, err)
		}
		delete(ls.names, id)
		delete(ls.ids, why)
	}
	return nil
}

// readLabel asks the kernel for a label; one that is not there is empty.
func readLabel(m *ebpf.Map, id uint32) (label, error) {
	var v xdpbanLabel
	err := m.Lookup(id, &v)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return label{}, fmt.Errorf("read label %d: %w", id, err)
	}
	return labelOf(&v), nil
}

func labelOf(v *xdpbanLabel) label { return label{text(v.Jail[:]), text(v.Reason[:])} }

func (ls *labels) keep(id uint32, why label) {
	ls.names[id] = why
	ls.ids[why] = id
}

// id numbers why. When the kernel has no room for more of them it forgets the reason and
// then the jail, as 0: a ban is worth more than what it was for.
func (ls *labels) id(why label) (uint32, error) {
	if id, ok := ls.ids[why]; ok {
		return id, nil
	}
	return ls.add(why)
}

// add numbers why, which is not known as it is, by as much of it as the kernel takes.
func (ls *labels) add(why label) (uint32, error) {
	var v xdpbanLabel
	why = label{cut(why.jail, len(v.Jail)-1), cut(why.reason, len(v.Reason)-1)}
	if id, ok := ls.ids[why]; ok {
		return id, nil
	}
	copy(v.Jail[:], why.jail)
	copy(v.Reason[:], why.reason)
	err := ls.m.Put(ls.next, &v)
	if isFull(err) && why.reason != "" {
		return ls.id(label{jail: why.jail})
	}
	if isFull(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("write label %q: %w", why.jail, err)
	}
	ls.keep(ls.next, why)
	ls.next++
	return ls.next - 1, nil
}

// cut is at most the first n bytes of s, in whole characters and without zeros.
func cut(s string, n int) string {
	s = strings.ReplaceAll(s, "\x00", "")
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "")
}

func text(b []byte) string {
	before, _, _ := bytes.Cut(b, []byte{0})
	return string(before)
}

// isFull reports whether a map had no room.
func isFull(err error) bool {
	return errors.Is(err, errTooBig) || errors.Is(err, errNoSpace)
}
