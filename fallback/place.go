package fallback

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// jump is the rule that sends packets to our chain.
const jump = "-j " + Name

// The chains of others from which packets are sent to ours, as their first rule.
const (
	inputChain   = "INPUT"
	forwardChain = "FORWARD"
	dockerChain  = "DOCKER-USER" // Docker sends what it forwards there first
)

// heads are the chains of others that must begin with jump, those that are there.
func (h *half) heads(present listing) []string {
	heads := []string{inputChain}
	if h.settings.Forward {
		heads = append(heads, forwardChain)
	}
	if _, there := present[dockerChain]; there {
		heads = append(heads, dockerChain)
	}
	return heads
}

// lostPlaces lists the heads that do not begin with jump, or have it twice, and how often
// each has it.
func (h *half) lostPlaces(present listing) map[string]int {
	lost := make(map[string]int)
	for _, head := range h.heads(present) {
		call, n := "-A "+head+" "+jump, 0
		for _, rule := range present[head] {
			if rule == call {
				n++
			}
		}
		if n != 1 || present[head][0] != call {
			lost[head] = n
		}
	}
	return lost
}

// takeFirstPlace puts jump first into the heads where it is not.
func (h *half) takeFirstPlace() error {
	present, err := h.list(false)
	if err != nil {
		return err
	}
	if batch := h.replacing(present); batch != "" {
		return h.restore(batch)
	}
	return nil
}

// replacing is the batch that puts jump first into the heads where it is not.
func (h *half) replacing(present listing) string {
	var batch strings.Builder
	for head, n := range h.lostPlaces(present) {
		for range n {
			fmt.Fprintf(&batch, "-D %s %s\n", head, jump)
		}
		fmt.Fprintf(&batch, "-I %s 1 %s\n", head, jump)
	}
	return batch.String()
}

// fault says what is wrong with the chain, or nothing.
func (h *half) fault() (string, error) {
	present, err := h.list(false)
	if err != nil {
		return "", err
	}
	lost := h.lostPlaces(present)
	if n, ok := lost[inputChain]; ok && n == 0 {
		return Name + " was not called from INPUT", nil
	}
	for _, head := range []string{inputChain, forwardChain, dockerChain} {
		if _, ok := lost[head]; ok {
			return Name + " was not first in " + head, nil
		}
	}
	if !h.intact(present) {
		return "rules of " + Name + " were gone", nil
	}
	return "", nil
}

// Look says what is wrong with the places of a chain of kind that is there, without changing
// anything.
func Look(kind Kind, forward bool) (fault string, there bool, err error) {
	for _, v6 := range []bool{false, true} {
		t, err := openTables(kind, v6)
		if err != nil {
			continue // the other family says so
		}
		h := &half{tables: t, settings: &Settings{Forward: forward}, v6: v6}
		present, err := h.list(false)
		if err != nil {
			return "", there, err
		}
		if present[Name] == nil {
			continue
		}
		there = true
		for head := range h.lostPlaces(present) {
			return fmt.Sprintf("%s: %s is not first in %s", h.family(), Name, head), true, nil
		}
	}
	return "", there, nil
}

// intact reports whether our chains hold what they should.
func (h *half) intact(present listing) bool {
	if !h.complete(present) {
		return false
	}
	for _, c := range h.chains() {
		static := slices.DeleteFunc(slices.Clone(present[c.name]), isBanRule)
		if !slices.Equal(static, h.static[c.name]) {
			return false
		}
	}
	return true
}

// mend looks whether the chain is as it should be, puts it back where it is not, and looks
// again: others may be about to change more. what says what was wrong first.
func (h *half) mend(now time.Time, thorough bool) (what string, err error) {
	if !h.hollow && !h.watch.due(h.tables, now, thorough) {
		return "", nil
	}
	h.watch = watch{} // what fails is looked at again the next time
	for range triesAtMost {
		seen := legacyTable(h.tables)
		fault, unknown := h.fault()
		if unknown != nil {
			return what, errors.Join(err, unknown)
		}
		if fault == "" && !h.hollow {
			h.watch = watch{looked: now, seen: seen}
			return what, nil
		}
		if what == "" {
			what = fault
		}
		err = h.putBack(now)
	}
	if err == nil {
		err = errors.New("others change the tables as often as the chain is put back")
	}
	return what, err
}

// putBack makes the chain what it should be, in one step.
func (h *half) putBack(now time.Time) error {
	lost, err := h.prepare()
	h.hollow = h.hollow || lost
	if err != nil {
		return err
	}
	if h.hollow {
		if err := h.refill(now); err != nil {
			return err
		}
		h.hollow = false
	}
	present, err := h.list(false)
	if err != nil {
		return err
	}
	if h.intact(present) {
		return h.takeFirstPlace()
	}
	return h.write(h.replacing(present))
}

// clear takes our chains out of t.
func (t *tables) clear() error {
	present, err := t.list(false)
	if err != nil {
		return err
	}
	var calls, flushes, removals strings.Builder
	for name, rules := range present {
		if ours(name) {
			fmt.Fprintf(&flushes, "-F %s\n", name)
			fmt.Fprintf(&removals, "-X %s\n", name)
			continue
		}
		for _, rule := range rules {
			if rule == "-A "+name+" "+jump {
				fmt.Fprintf(&calls, "-D %s %s\n", name, jump)
			}
		}
	}
	batch := calls.String() + flushes.String() + removals.String()
	if batch == "" {
		return nil
	}
	return t.restore(batch)
}

func ours(chain string) bool { return chain == Name || strings.HasPrefix(chain, Name+"-") }
