package fallback

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// listDir is where the kernel shows the lists of the match recent, of the calling thread's
// network namespace.
const listDir = "/proc/thread-self/net/xt_recent"

// writeList changes the list called name: -ADDR takes one off it. A list that is not there
// has nobody on it.
func writeList(name, change string) error {
	err := os.WriteFile(filepath.Join(listDir, name), []byte(change), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("change the list %s: %w", name, err)
	}
	return nil
}

// A listClock tells when an entry of a list was seen last. The kernel says so in jiffies,
// which it says nowhere else: a list of our own is written to, and what the kernel put there
// is now.
type listClock struct {
	v6   bool
	rate float64 // jiffies a second; 0: not measured yet
}

// A mark is the same instant by jiffies and by the wall clock.
type mark struct {
	jiffies uint64
	at      time.Time
}

const (
	clockList = listName + "-clock"

	// rateSpan is between the marks that measure the rate: 3 jiffies of the slowest kernel
	// are enough to tell the rates apart that there are.
	rateSpan = 60 * time.Millisecond
)

// tickRates are the values of CONFIG_HZ.
var tickRates = []float64{100, 250, 300, 1000}

// rule keeps the list; no packet comes by it.
func (c *listClock) rule() string {
	return "-m recent --name " + c.list() + " --rcheck -j RETURN"
}

func (c *listClock) list() string {
	if c.v6 {
		return clockList + "6"
	}
	return clockList
}

// now makes a mark.
func (c *listClock) now() (mark, error) {
	if err := writeList(c.list(), "+127.0.0.1\n"); err != nil {
		return mark{}, err
	}
	at := time.Now()
	entries, err := readList(c.list())
	if err != nil {
		return mark{}, err
	}
	for _, e := range entries {
		return mark{e.jiffies, at}, nil
	}
	return mark{}, errors.New("read the kernel's clock: the list " + c.list() + " is empty")
}

// measure finds the rate, from two marks.
func (c *listClock) measure() error {
	first, err := c.now()
	if err != nil {
		return err
	}
	time.Sleep(rateSpan)
	last, err := c.now()
	if err != nil {
		return err
	}
	measured := float64(last.jiffies-first.jiffies) / last.at.Sub(first.at).Seconds()
	best := tickRates[0]
	for _, rate := range tickRates {
		if abs(measured-rate) < abs(measured-best) {
			best = rate
		}
	}
	c.rate = best
	return nil
}

func abs(x float64) float64 {
	if x < 0 {
		return -x
	}
	return x
}

// read is who is on the list called name, as prefixes of so many bits, and when a packet of
// them came last. Where the kernel cannot be asked for its clock, that is now: a ban may
// end late by it, never early.
func (c *listClock) read(name string, bits int) map[netip.Prefix]time.Time {
	seen := make(map[netip.Prefix]time.Time)
	entries, err := readList(name)
	if err != nil || len(entries) == 0 {
		return seen
	}
	if c.rate == 0 && c.measure() != nil {
		c.rate = 0
	}
	now, err := c.now()
	for _, e := range entries {
		prefix := netip.PrefixFrom(e.addr, bits).Masked()
		if err != nil || c.rate == 0 {
			seen[prefix] = time.Now()
			continue
		}
		ago := float64(int64(now.jiffies-e.jiffies)) / c.rate
		seen[prefix] = now.at.Add(-time.Duration(ago * float64(time.Second)))
	}
	return seen
}

// A listEntry is one of a list of the match recent.
type listEntry struct {
	addr    netip.Addr
	jiffies uint64 // when a packet came last
}

// readList reads lines like "src=192.0.2.7 ttl: 64 last_seen: 4295012345 oldest_pkt: 1 ...".
func readList(name string) ([]listEntry, error) {
	text, err := os.ReadFile(filepath.Join(listDir, name))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the list %s: %w", name, err)
	}
	var entries []listEntry
	for line := range strings.Lines(string(text)) {
		if e, ok := parseListEntry(line); ok {
			entries = append(entries, e)
		}
	}
	return entries, nil
}

func parseListEntry(line string) (e listEntry, ok bool) {
	source, rest, _ := strings.Cut(strings.TrimPrefix(line, "src="), " ")
	addr, err := netip.ParseAddr(source)
	_, rest, found := strings.Cut(rest, "last_seen: ")
	number, _, _ := strings.Cut(rest, " ")
	jiffies, err2 := strconv.ParseUint(strings.TrimSpace(number), 10, 64)
	return listEntry{addr, jiffies}, err == nil && err2 == nil && found
}
