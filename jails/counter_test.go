package jails

import (
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"xdpban/jails/filter"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func single(text string) netip.Prefix {
	addr := netip.MustParseAddr(text)
	return netip.PrefixFrom(addr, addr.BitLen())
}

// numbered is the i-th of many IPv6 prefixes.
func numbered(i int) netip.Prefix {
	b := [16]byte{0x20, 0x01, 0x0d, 0xb8, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}

func TestCounterSlidesItsWindow(t *testing.T) {
	type step struct {
		second   int // the line's
		failures int
		enough   bool
	}
	tests := map[string][]step{
		"enough at once":              {{0, 1, false}, {0, 2, false}, {0, 3, true}},
		"the whole window counts":     {{0, 1, false}, {5, 2, false}, {10, 3, true}},
		"a second more does not":      {{0, 1, false}, {5, 2, false}, {11, 2, false}, {15, 3, true}},
		"a ban starts anew":           {{0, 1, false}, {1, 2, false}, {2, 3, true}, {3, 1, false}, {4, 2, false}, {5, 3, true}},
		"slow enough never bans":      {{0, 1, false}, {6, 2, false}, {12, 2, false}, {18, 2, false}, {24, 2, false}},
		"out of order":                {{10, 1, false}, {0, 2, false}, {5, 3, true}},
		"in order behind a late one":  {{10, 1, false}, {4, 2, false}, {12, 3, true}},
		"too late for the window":     {{20, 1, false}, {9, 1, false}, {21, 2, false}, {22, 3, true}},
		"late one leaves it first":    {{10, 1, false}, {2, 2, false}, {13, 2, false}, {14, 3, true}},
		"two windows are not one sum": {{0, 1, false}, {1, 2, false}, {100, 1, false}, {101, 2, false}},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCounter(Rules{MaxRetry: 3, FindTime: 10 * time.Second, MaxSources: 10})
			for i, s := range steps {
				at := noon.Add(time.Duration(s.second) * time.Second)
				if failures, _, enough := c.add(single("192.0.2.1"), at, noon, filter.Verified, 0); failures != s.failures || enough != s.enough {
					t.Fatalf("step %d: %d, %t, want %d, %t", i, failures, enough, s.failures, s.enough)
				}
			}
		})
	}
}

// A plainCounter does what a counter does without room to run out of.
type plainCounter struct {
	rules Rules
	times map[netip.Prefix][]time.Time
}

func (p *plainCounter) add(key netip.Prefix, at time.Time) (int, bool) {
	times := append(slices.Clone(p.times[key]), at)
	latest := slices.MaxFunc(times, time.Time.Compare)
	times = slices.DeleteFunc(times, func(t time.Time) bool { return latest.Sub(t) > p.rules.FindTime })
	p.times[key] = times
	if len(times) < p.rules.MaxRetry {
		return len(times), false
	}
	delete(p.times, key)
	return len(times), true
}

func TestCounterDoesAsThePlainOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := Rules{
			MaxRetry:   rapid.IntRange(1, 6).Draw(t, "maxretry"),
			FindTime:   time.Duration(rapid.IntRange(1, 200).Draw(t, "findtime")) * time.Second,
			MaxSources: 100,
		}
		plain := &plainCounter{rules: rules, times: make(map[netip.Prefix][]time.Time)}
		c := newCounter(rules)
		now := noon
		for range rapid.IntRange(1, 200).Draw(t, "lines") {
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "pause")) * time.Second)
			key := numbered(rapid.IntRange(0, 3).Draw(t, "source"))
			if rapid.IntRange(0, 30).Draw(t, "forget") == 0 {
				c.forget(key, 64)
				delete(plain.times, key)
				continue
			}
			live := rapid.Bool().Draw(t, "live")
			age := time.Duration(rapid.IntRange(-70, 210).Draw(t, "age")) * time.Second
			at, counts := failedAt(now.Add(-age), live, now, rules.FindTime)
			if !counts {
				continue
			}
			wantFailures, wantEnough := plain.add(key, at)
			if failures, _, enough := c.add(key, at, now, filter.Verified, 0); failures != wantFailures || enough != wantEnough {
				t.Fatalf("%d, %t, want %d, %t", failures, enough, wantFailures, wantEnough)
			}
			if err := c.sound(); err != "" {
				t.Fatal(err)
			}
		}
	})
}

// sound follows all chains of c and says what is wrong with them.
func (c *counter) sound() string {
	sources, used := 0, 0
	for s, older := c.oldest, none; s != none; s = c.sources[s].newer {
		source := c.sources[s]
		if source.older != older || c.index[source.key] != s {
			return "the chain of sources is broken"
		}
		n, last := int32(0), none
		for f := source.first; f != none; f = c.times[f].next {
			if last != none && c.times[f].at < c.times[last].at {
				return "failures are out of order"
			}
			n, last = n+1, f
		}
		if n == 0 || n != source.count || last != source.last {
			return "the chain of failures is broken"
		}
		sources, used, older = sources+1, used+int(n), s
	}
	if sources != len(c.index) || used != c.used || sources > c.maxSources || used > c.maxTimes {
		return "slots are lost"
	}
	return ""
}

func TestCounterStaysSoundWithoutRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCounter(Rules{
			MaxRetry:   rapid.IntRange(1, 30).Draw(t, "maxretry"),
			FindTime:   time.Hour,
			MaxSources: rapid.IntRange(1, 4).Draw(t, "maxsources"),
		})
		for range rapid.IntRange(1, 200).Draw(t, "lines") {
			key := numbered(rapid.IntRange(0, 8).Draw(t, "source"))
			at := noon.Add(time.Duration(rapid.IntRange(-100, 100).Draw(t, "at")) * time.Second)
			failures, _, enough := c.add(key, at, noon, filter.Verified, 0)
			if failures < 1 || failures > c.maxRetry || enough != (failures == c.maxRetry) {
				t.Fatalf("%d failures of %d, enough %t", failures, c.maxRetry, enough)
			}
			if err := c.sound(); err != "" {
				t.Fatal(err)
			}
		}
	})
}

// A clock that was wrong for a while must not make whoever failed meanwhile safe.
func TestCounterOutlivesAClockThatIsSetBack(t *testing.T) {
	c := newCounter(Rules{MaxRetry: 3, FindTime: time.Minute, MaxSources: 10})
	for _, now := range []time.Time{noon.Add(-90 * time.Second), noon.AddDate(1, 0, 0), noon.Add(10 * time.Minute)} {
		c.add(single("192.0.2.1"), now, now, filter.Verified, 0)
		c.add(single("192.0.2.2"), now, now, filter.Verified, 0)
	}
	c.add(single("192.0.2.3"), noon, noon, filter.Verified, 0)
	for i, want := range []int{1, 2, 3} {
		now := noon.Add(time.Duration(i) * time.Second)
		if failures, _, enough := c.add(single("192.0.2.1"), now, now, filter.Verified, 0); failures != want || enough != (want == 3) {
			t.Fatalf("%d failures, enough %t, want %d", failures, enough, want)
		}
	}
	if sources, _ := c.tally(noon.Add(time.Hour)); sources != 0 {
		t.Errorf("%d sources are counted after an hour of silence, want none", sources)
	}
}

func TestCounterKnowsTheWeakestOfTheFailuresThatCount(t *testing.T) {
	type failed struct {
		second int
		trust  filter.Trust
	}
	tests := map[string]struct {
		failures []failed
		want     filter.Trust
	}{
		"all verified":             {[]failed{{0, filter.Verified}, {1, filter.Verified}}, filter.Verified},
		"a forged one first":       {[]failed{{0, filter.Spoofable}, {1, filter.Verified}}, filter.Spoofable},
		"a forged one last":        {[]failed{{0, filter.Verified}, {1, filter.Spoofable}}, filter.Spoofable},
		"a forged one out of turn": {[]failed{{9, filter.Verified}, {2, filter.Spoofable}}, filter.Spoofable},
		"the forged one is past":   {[]failed{{0, filter.Spoofable}, {11, filter.Verified}, {12, filter.Verified}}, filter.Verified},
		"untrusted beats forged":   {[]failed{{0, filter.Untrusted}, {1, filter.Spoofable}}, filter.Untrusted},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := newCounter(Rules{MaxRetry: 2, FindTime: 10 * time.Second, MaxSources: 10})
			var got filter.Trust
			for _, f := range test.failures {
				_, got, _ = c.add(single("192.0.2.1"), noon.Add(time.Duration(f.second)*time.Second), noon, f.trust, 0)
			}
			if got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func TestSourceWhoseLastFailureIsOldestIsForgotten(t *testing.T) {
	c := newCounter(Rules{MaxRetry: 3, FindTime: time.Hour, MaxSources: 2})
	for _, i := range []int{1, 2, 1, 3} { // 3 takes the place of 2
		c.add(numbered(i), noon, noon, filter.Verified, 0)
	}
	if sources, forgotten := c.tally(noon); sources != 2 || forgotten != 1 {
		t.Errorf("%d sources, %d forgotten, want 2, 1", sources, forgotten)
	}
	if failures, _, enough := c.add(numbered(1), noon, noon, filter.Verified, 0); failures != 3 || !enough {
		t.Errorf("source 1: %d, %t, want 3, true", failures, enough)
	}
	if failures, _, _ := c.add(numbered(2), noon, noon, filter.Verified, 0); failures != 1 {
		t.Errorf("source 2: %d failures, want 1", failures)
	}
}

func TestSilentSourcesAreDropped(t *testing.T) {
	c := newCounter(Rules{MaxRetry: 3, FindTime: time.Minute, MaxSources: 100})
	for i := range 50 {
		c.add(numbered(i), noon, noon, filter.Verified, 0)
	}
	if sources, forgotten := c.tally(noon.Add(2 * time.Minute)); sources != 50 || forgotten != 0 {
		t.Errorf("after 2 min: %d sources, %d forgotten, want 50, 0", sources, forgotten)
	}
	if sources, forgotten := c.tally(noon.Add(2*time.Minute + 1)); sources != 0 || forgotten != 0 {
		t.Errorf("later: %d sources, %d forgotten, want 0, 0", sources, forgotten)
	}
}

func TestForgetDropsWhatThePrefixTouches(t *testing.T) {
	all := []string{"192.0.2.1/32", "192.0.2.2/32", "198.51.100.1/32", "2001:db8:0:1::/64", "2001:db8:0:2::/64"}
	for _, test := range []struct {
		prefix string
		left   []string
	}{
		{"192.0.2.1/32", all[1:]},
		{"192.0.2.0/24", all[2:]},
		{"0.0.0.0/0", all[3:]},
		{"2001:db8:0:1::/64", []string{all[0], all[1], all[2], all[4]}},
		{"2001:db8:0:1::7/128", []string{all[0], all[1], all[2], all[4]}},
		{"2001:db8::/32", all[:3]},
		{"::/0", all[:3]},
		{"203.0.113.0/24", all},
	} {
		t.Run(test.prefix, func(t *testing.T) {
			c := newCounter(Rules{MaxRetry: 9, FindTime: time.Hour, MaxSources: 10})
			for _, key := range all {
				c.add(netip.MustParsePrefix(key), noon, noon, filter.Verified, 0)
			}
			c.forget(netip.MustParsePrefix(test.prefix), 64)
			var left []string
			for _, key := range all {
				if failures, _, _ := c.add(netip.MustParsePrefix(key), noon, noon, filter.Verified, 0); failures == 2 {
					left = append(left, key)
				}
			}
			if !slices.Equal(left, test.left) {
				t.Errorf("left %v, want %v", left, test.left)
			}
		})
	}
}

func TestMillionSourcesTakeBoundedMemory(t *testing.T) {
	rules := standard.Defaults
	c := newCounter(rules)
	before := heap()
	for i := range 1_000_000 {
		for range 1 + i%3 {
			c.add(numbered(i), noon, noon, filter.Verified, 0)
		}
	}
	grown := heap() - before
	t.Logf("%d bytes, %d a source", grown, grown/rules.MaxSources)
	if most := 200 * rules.MaxSources; grown > most {
		t.Errorf("the heap grew by %d bytes, want %d at most", grown, most)
	}
	if sources, forgotten := c.tally(noon); sources != rules.MaxSources || forgotten != 900_000 {
		t.Errorf("%d sources, %d forgotten, want %d, 900000", sources, forgotten, rules.MaxSources)
	}
	runtime.KeepAlive(c)
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func TestCountingAllocatesNothingOnceGrown(t *testing.T) {
	c := newCounter(Rules{MaxRetry: 4, FindTime: time.Hour, MaxSources: 1000})
	i := 0
	add := func() {
		c.add(numbered(i*7919%5000), noon, noon, filter.Verified, 0)
		i++
	}
	for range 20_000 {
		add()
	}
	if n := testing.AllocsPerRun(10_000, add); n != 0 {
		t.Errorf("%v allocations a failure", n)
	}
}

func BenchmarkCount(b *testing.B) {
	c := newCounter(standard.Defaults)
	for i := range b.N {
		c.add(numbered(i%200_000), noon, noon, filter.Verified, 0)
	}
}

func TestDifferentValuesCount(t *testing.T) {
	type step struct {
		second   int
		user     string
		failures int
		trust    filter.Trust
	}
	for name, c := range map[string]struct {
		steps   []step
		weakest filter.Trust // 0: no ban
	}{
		"the same again":             {[]step{{0, "a", 1, filter.Verified}, {1, "a", 1, filter.Verified}, {2, "a", 1, filter.Verified}}, 0},
		"three":                      {[]step{{0, "a", 1, filter.Verified}, {1, "b", 2, filter.Verified}, {2, "a", 2, filter.Verified}, {3, "c", 3, filter.Verified}}, filter.Verified},
		"none is a value":            {[]step{{0, "", 1, filter.Verified}, {1, "", 1, filter.Verified}, {2, "b", 2, filter.Verified}, {3, "c", 3, filter.Verified}}, filter.Verified},
		"one is seen again in time":  {[]step{{0, "a", 1, filter.Verified}, {5, "a", 1, filter.Verified}, {11, "b", 2, filter.Verified}, {12, "c", 3, filter.Verified}}, filter.Verified},
		"one is too old":             {[]step{{0, "a", 1, filter.Verified}, {5, "b", 2, filter.Verified}, {11, "c", 2, filter.Verified}}, 0},
		"an earlier line comes late": {[]step{{5, "a", 1, filter.Verified}, {2, "a", 1, filter.Verified}, {14, "b", 2, filter.Verified}, {15, "c", 3, filter.Verified}}, filter.Verified},
		"the weakest stays":          {[]step{{0, "a", 1, filter.Spoofable}, {1, "a", 1, filter.Verified}, {2, "b", 2, filter.Verified}, {3, "c", 3, filter.Verified}}, filter.Spoofable},
	} {
		counter := newCounter(Rules{MaxRetry: 3, FindTime: 10 * time.Second, MaxSources: 2})
		var weakest filter.Trust
		for _, s := range c.steps {
			at := noon.Add(time.Duration(s.second) * time.Second)
			failures, trust, _ := counter.add(single("192.0.2.1"), at, noon, s.trust, counter.value(s.user))
			if failures != s.failures {
				t.Errorf("%s: second %d: %d failures, want %d", name, s.second, failures, s.failures)
			}
			weakest = trust
		}
		if weakest != c.weakest {
			t.Errorf("%s: weakest trust is %v, want %v", name, weakest, c.weakest)
		}
	}
}

// Slots of values that were seen again are used again.
func TestValuesSeenAgainTakeNoRoom(t *testing.T) {
	c := newCounter(Rules{MaxRetry: 3, FindTime: time.Minute, MaxSources: 2})
	for i := range 1000 {
		c.add(single("192.0.2.1"), noon, noon, filter.Verified, c.value([]string{"a", "b"}[i%2]))
	}
	if c.used != 2 || len(c.times) > 3 {
		t.Errorf("%d slots used, %d made", c.used, len(c.times))
	}
}
