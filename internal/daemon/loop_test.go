package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xdpban/internal/ban"
	"xdpban/internal/control"
	"xdpban/internal/lab"
	"xdpban/jails"
	"xdpban/loader"
)

// A bench is a daemon in this process, on the real kernel's maps and on no interface. What
// its loop does can be watched and spoilt.
type bench struct {
	testing.TB
	*Daemon
	service service
	spy     *spy
	dir     string
}

// newBench starts a daemon with changed in place of what all tests share, until the test ends.
func newBench(tb testing.TB, changed keys) *bench {
	tb.Helper()
	lab.Require(tb)
	dir, err := os.MkdirTemp("/run", "")
	must(tb, err)
	pin := "/sys/fs/bpf/" + filepath.Base(dir)
	all := keys{
		"interfaces": "[absent]", "enforce": "xdp", "maxbans": "4096",
		"socket": filepath.Join(dir, "socket"), "state": filepath.Join(dir, "state"), "pin": pin, "jails": "{}",
	}
	maps.Copy(all, changed)
	text := new(strings.Builder)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(text, "%s: %s\n", key, all[key])
	}
	path := filepath.Join(dir, "xdpban.yaml")
	must(tb, os.WriteFile(path, []byte(text.String()), 0o600))
	config, err := jails.Load(path)
	must(tb, err)
	log := NewLog()
	must(tb, log.Open(filepath.Join(dir, "log"), config.Loglevel))
	d, err := New(config, Options{Config: path, Log: log})
	must(tb, err)
	b := &bench{TB: tb, Daemon: d, service: service{d}, spy: &spy{enforcer: d.enforcer}, dir: dir}
	d.enforcer = b.spy
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	tb.Cleanup(func() {
		stop()
		must(tb, <-done)
		must(tb, loader.Remove(pin))
	})
	return b
}

// A spy passes everything on to the enforcer. Before that it tells of it, on the loop; an
// error is what comes of a Ban.
type spy struct {
	enforcer
	mu   sync.Mutex
	hear func(what string, bans []ban.Ban) error
}

// on has hear hear what the loop does from now on.
func (s *spy) on(hear func(what string, bans []ban.Ban) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hear = hear
}

func (s *spy) tell(what string, bans []ban.Ban) error {
	s.mu.Lock()
	hear := s.hear
	s.mu.Unlock()
	if hear == nil {
		return nil
	}
	return hear(what, bans)
}

func (s *spy) Ban(bans ...ban.Ban) error {
	if err := s.tell("ban", bans); err != nil {
		return err
	}
	return s.enforcer.Ban(bans...)
}

func (s *spy) Unban(prefixes ...netip.Prefix) (int, error) {
	if err := s.tell("unban", nil); err != nil {
		return 0, err
	}
	return s.enforcer.Unban(prefixes...)
}

func (s *spy) Sweep() ([]ban.Record, []netip.Prefix, error) {
	if err := s.tell("sweep", nil); err != nil {
		return nil, nil, err
	}
	return s.enforcer.Sweep()
}

func (s *spy) Compare(turn turn) (comparison, error) {
	return s.enforcer.Compare(func(do func() error) error {
		return turn(func() error {
			if err := s.tell("compare", nil); err != nil {
				return err
			}
			return do()
		})
	})
}

// loop does something on the loop.
func (b *bench) loop(do func()) {
	b.Helper()
	must(b, b.turn(b.Context(), func() error { do(); return nil }))
}

// finding is what a log would have found: that source has to be out for an hour.
func finding(source netip.Addr) jails.Found {
	now := time.Now()
	return jails.Found{Addr: source, Ban: ban.Ban{
		Prefix: ban.Of(source, 64), Jail: "sshd", Reason: "failed-password", Since: now, End: now.Add(time.Hour), Quiet: time.Hour,
	}}
}

// inKernel reports whether the kernel has a ban of source. Called on the loop.
func (b *bench) inKernel(source netip.Addr) bool {
	b.Helper()
	r, there, err := b.spy.enforcer.(*ladder).xdp.Find(ban.Single(source))
	must(b, err)
	return there && r.Prefix.Contains(source)
}

// listFrom is n addresses from first on, as a file has them.
func listFrom(first string, n int) string {
	text := new(strings.Builder)
	for addr := netip.MustParseAddr(first); n > 0; n-- {
		fmt.Fprintln(text, addr)
		addr = addr.Next()
	}
	return text.String()
}

func (b *bench) list() map[netip.Prefix]control.Ban {
	b.Helper()
	bans := make(map[netip.Prefix]control.Ban)
	must(b, b.service.Bans(b.Context(), func(ban control.Ban) error {
		bans[ban.Prefix] = ban
		return nil
	}))
	return bans
}

// What is found while the daemon is busy with thousands of bans is in force before the next
// batch of those has its turn, as it is when the daemon has nothing else to do.
func TestFindingsComeBetweenBatches(t *testing.T) {
	const many = 8 * batch
	fill := func(b *bench, seconds int64) {
		_, err := b.service.Ban(b.Context(), control.BanRequest{List: strings.NewReader(listFrom("10.0.0.0", many)), Seconds: seconds})
		must(b, err)
	}
	nothing := func(*bench) {}
	for _, test := range []struct {
		name    string
		prepare func(b *bench)
		work    string // what the loop does many times
		do      func(b *bench)
	}{
		{"a list goes in", nothing, "ban", func(b *bench) { fill(b, 3600) }},
		{"a list goes out", func(b *bench) { fill(b, 3600) }, "unban", func(b *bench) {
			_, err := b.service.Unban(b.Context(), control.UnbanRequest{List: strings.NewReader(listFrom("10.0.0.0", many))})
			must(b, err)
		}},
		{"everybody goes out", func(b *bench) { fill(b, 3600) }, "unban", func(b *bench) {
			_, err := b.service.Unban(b.Context(), control.UnbanRequest{All: true})
			must(b, err)
		}},
		{"all is compared", func(b *bench) { fill(b, 3600) }, "compare", func(b *bench) {
			_, err := b.service.Verify(b.Context(), control.VerifyRequest{})
			must(b, err)
		}},
		{"thousands end", nothing, "sweep", func(b *bench) {
			fill(b, 3) // the last are there before the first end
			for left := many; left >= batch; <-time.After(time.Millisecond) {
				b.loop(func() { left = b.bans.Len() })
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, keys{"maxbans": "16384"})
			test.prepare(b)
			next, waiting, turns, late := netip.MustParseAddr("192.0.2.1"), netip.Addr{}, 0, 0
			b.spy.on(func(what string, bans []ban.Ban) error {
				if what != test.work || len(bans) == 1 { // that is the finding itself
					return nil
				}
				turns++
				if waiting.IsValid() && !b.inKernel(waiting) {
					late++
				}
				waiting, next = next, next.Next()
				b.found <- finding(waiting) // there is room
				return nil
			})
			test.do(b)
			b.spy.on(nil)
			if turns < many/batch || late > 0 {
				t.Errorf("in %d turns %d findings had to wait for more than one", turns, late)
			}
			b.loop(func() {
				if !b.inKernel(waiting) {
					t.Errorf("the last one, %v, is not in force", waiting)
				}
			})
		})
	}
}

// Whoever reads a list does not hold the loop, however slowly.
func TestFindingsComeWhileAListIsRead(t *testing.T) {
	b := newBench(t, nil)
	const many = sortAtMost - 1
	_, err := b.service.Ban(t.Context(), control.BanRequest{List: strings.NewReader(listFrom("10.0.0.0", many))})
	must(t, err)
	attacker := netip.MustParseAddr(attacker)
	n := 0
	must(t, b.service.Bans(t.Context(), func(control.Ban) error {
		if n++; n == 1 {
			b.hear(finding(attacker))
			there := false
			for end := time.Now().Add(patience); !there && time.Now().Before(end); {
				b.loop(func() { there = b.inKernel(attacker) })
			}
			if !there {
				t.Error("the finding waits for the list")
			}
		}
		return nil
	}))
	if n < many {
		t.Errorf("%d listed of %d", n, many)
	}
}

// A few bans are listed in the order of their ends, many all the same completely.
func TestListsAreSortedWhileTheyAreShort(t *testing.T) {
	b := newBench(t, keys{"maxbans": "16384"})
	listed := func() (list []control.Ban) {
		must(t, b.service.Bans(t.Context(), func(ban control.Ban) error {
			list = append(list, ban)
			return nil
		}))
		return list
	}
	for i, seconds := range []int64{7200, 3600, 10800} {
		_, err := b.service.Ban(t.Context(), control.BanRequest{Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}, Seconds: seconds})
		must(t, err)
	}
	if got := listed(); len(got) != 3 || !slices.IsSortedFunc(got, func(a, b control.Ban) int { return b.End.Compare(a.End) }) {
		t.Errorf("got %+v", got)
	}
	_, err := b.service.Ban(t.Context(), control.BanRequest{List: strings.NewReader(listFrom("10.0.0.0", 2*sortAtMost))})
	must(t, err)
	once := make(map[netip.Prefix]bool)
	for _, ban := range listed() {
		if once[ban.Prefix] {
			t.Fatalf("%v is listed twice", ban.Prefix)
		}
		once[ban.Prefix] = true
	}
	if len(once) != 2*sortAtMost+3 {
		t.Errorf("%d listed, want %d", len(once), 2*sortAtMost+3)
	}
	enough := errors.New("enough")
	if err := b.service.Bans(t.Context(), func(control.Ban) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("who has enough gets %v", err)
	}
}

// Nothing of a list stays that cannot be had whole, and what was there before is as it was.
func TestAListIsTakenBackWhole(t *testing.T) {
	const many = 4 * batch
	byHand, byLog := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.0.6")
	for _, test := range []struct {
		name   string
		change keys
		spoil  func(b *bench, stop func()) error // on the loop, before the third batch
		want   string
	}{
		{"the kernel has no room", keys{"maxbans": "3000"}, func(*bench, func()) error { return nil }, "held is full, it holds 3000"},
		{"the kernel says no", nil, func(*bench, func()) error { return errors.New("out of memory") }, "out of memory"},
		{"who asked has gone", nil, func(_ *bench, stop func()) error { stop(); return nil }, context.Canceled.Error()},
		{"the host has a new network, and all of it is in there", nil, func(b *bench, _ func()) error {
			select { // news of the host would have the list found out anew
			case <-b.Daemon.changed:
			default:
			}
			b.Daemon.allowed = new(ban.Set)
			b.Daemon.allowed.Add(netip.MustParsePrefix("10.0.0.0/16"), "network of eth0")
			return nil
		}, " is never banned: 10.0.0.0/16 (network of eth0)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			change := keys{"maxbans": "8192"}
			maps.Copy(change, test.change)
			b := newBench(t, change)
			_, err := b.service.Ban(t.Context(), control.BanRequest{Addresses: []netip.Addr{byHand}, Seconds: 7200, Reason: "before"})
			must(t, err)
			b.loop(func() { b.banFound(finding(byLog)) })
			before, made := b.list(), make(map[string]uint64)
			b.loop(func() { maps.Copy(made, b.banned) })

			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			batches := 0
			var foundLater netip.Addr // whom the first batch has banned
			b.spy.on(func(what string, bans []ban.Ban) error {
				if what != "ban" || len(bans) == 1 {
					return nil
				}
				batches++
				switch batches {
				case 1:
					foundLater = bans[slices.IndexFunc(bans, func(b ban.Ban) bool {
						return b.Prefix.Addr() != byHand && b.Prefix.Addr() != byLog
					})].Prefix.Addr()
				case 2:
					b.found <- finding(foundLater)
				}
				if batches == 3 {
					return test.spoil(b, stop)
				}
				return nil
			})
			_, err = b.service.Ban(ctx, control.BanRequest{List: strings.NewReader(listFrom("10.0.0.0", many)), Seconds: 36000})
			b.spy.on(nil)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %s", err, test.want)
			}
			if batches < 3 {
				t.Errorf("%d batches: nothing had been done", batches)
			}
			after := b.list()
			if _, there := after[ban.Single(foundLater)]; !there {
				t.Error("what a log found meanwhile has been taken back")
			}
			delete(after, ban.Single(foundLater))
			for prefix, was := range before {
				is := after[prefix]
				if d := is.End.Sub(was.End).Abs(); d > 2*time.Second {
					t.Errorf("%v ends %v off", prefix, d)
				}
				is.End, is.Left, is.Since = was.End, was.Left, was.Since
				after[prefix] = is
			}
			if !maps.Equal(after, before) {
				t.Errorf("%d bans: %.3v, want %v", len(after), after, before)
			}
			b.loop(func() {
				if b.bans.Len() != 3 || !maps.Equal(b.banned, made) {
					t.Errorf("%d in the account, made %v, want %v", b.bans.Len(), b.banned, made)
				}
				if rooms := b.enforcer.Rooms(); rooms[0].Used != 1 || rooms[1].Used != 2 {
					t.Errorf("rooms: %+v", rooms)
				}
			})
		})
	}
}

// Whom another operator bans while a list is done stays out when the list is taken back.
func TestAListThatIsTakenBackLeavesWhatOthersHaveBanned(t *testing.T) {
	b := newBench(t, keys{"maxbans": "8192"})
	var other netip.Addr // whom the first batch has banned
	b.spy.on(func(what string, bans []ban.Ban) error {
		if what != "ban" || len(bans) == 1 {
			return nil
		}
		if !other.IsValid() {
			other = bans[0].Prefix.Addr()
			return nil
		}
		p, _, err := b.Daemon.rules().plan(control.BanRequest{Addresses: []netip.Addr{other}}, time.Now())
		return errors.Join(errors.New("no more"), err, b.Daemon.begin(p))
	})
	_, err := b.service.Ban(t.Context(), control.BanRequest{List: strings.NewReader(listFrom("10.0.0.0", 8192))})
	b.spy.on(nil)
	if err == nil || err.Error() != "no more" {
		t.Fatalf("got %v", err)
	}
	if left := b.list(); len(left) != 1 || left[ban.Single(other)].Jail != ban.ByHand {
		t.Errorf("got %v, want %v", left, other)
	}
}

// Lists that come at one time, with everybody let in meanwhile, leave what is told and what the
// kernel has the same.
func TestListsAndUnbanAllAtOnce(t *testing.T) {
	const many = 4 * batch
	b := newBench(t, keys{"maxbans": fmt.Sprint(4 * many)})
	var asking sync.WaitGroup
	for i := range 3 {
		first := fmt.Sprintf("10.0.%d.0", 8*i) // half of it is in the next
		asking.Go(func() {
			_, err := b.service.Ban(t.Context(), control.BanRequest{List: strings.NewReader(listFrom(first, many))})
			if err != nil {
				t.Error(err)
			}
		})
		asking.Go(func() {
			if _, err := b.service.Unban(t.Context(), control.UnbanRequest{All: true}); err != nil {
				t.Error(err)
			}
		})
		asking.Go(func() {
			_, err := b.service.Unban(t.Context(), control.UnbanRequest{List: strings.NewReader(listFrom(first, many))})
			if err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	c, err := b.service.Verify(t.Context(), control.VerifyRequest{})
	must(t, err)
	left := len(b.list())
	if got := c.Compared; got.Wanted != left || got.Enforced != left || got.Unknowns != 0 || got.Repaired != 0 {
		t.Errorf("%d are listed, compared: %+v", left, got)
	}
	b.loop(func() {
		if used := b.enforcer.Rooms()[1].Used; used != left {
			t.Errorf("%d are listed, %d counted", left, used)
		}
		if b.Daemon.list != nil {
			t.Error("a list goes on for ever")
		}
	})
}

// Bans that end in the same second are told of in one line.
func TestManyEndsAreOneLine(t *testing.T) {
	const many = 3 * batch
	b := newBench(t, nil)
	_, err := b.service.Ban(t.Context(), control.BanRequest{List: strings.NewReader(listFrom("10.0.0.0", many)), Seconds: 3}) // the last are there before the first end
	must(t, err)
	for left := many; left > 0; <-time.After(time.Millisecond) {
		b.loop(func() { left = b.bans.Len() })
	}
	b.loop(func() {}) // the sweep that was the last has told
	text, err := os.ReadFile(filepath.Join(b.dir, "log"))
	must(t, err)
	if log := string(text); strings.Count(log, "bans ended") != 1 || !strings.Contains(log, fmt.Sprintf("bans ended sources=%d", many)) {
		t.Errorf("got\n%s", log)
	}
}

// A source that goes on is told of once; again when a jail has it out for far longer.
func TestARenewedBanIsNoNews(t *testing.T) {
	for _, enforce := range []string{"xdp", "observe"} {
		t.Run(enforce, func(t *testing.T) {
			b := newBench(t, keys{"enforce": enforce})
			again := finding(netip.MustParseAddr(attacker))
			longer := finding(netip.MustParseAddr(attacker))
			longer.Ban.Jail, longer.Ban.End = "recidive", longer.Ban.Since.Add(3*time.Hour)
			for _, f := range []jails.Found{again, again, longer, again, longer, finding(netip.MustParseAddr(bystander))} {
				b.loop(func() { b.banFound(f) })
			}
			var got []string
			text, err := os.ReadFile(filepath.Join(b.dir, "log"))
			must(t, err)
			for line := range strings.Lines(string(text)) {
				if _, what, told := strings.Cut(line, "INFO  banned "); told {
					got = append(got, strings.TrimSpace(what))
				}
			}
			want := []string{
				"source=" + attacker + " jail=sshd reason=failed-password for=1h0m0s",
				"source=" + attacker + " jail=recidive reason=failed-password for=3h0m0s",
				"source=" + bystander + " jail=sshd reason=failed-password for=1h0m0s",
			}
			if !slices.Equal(got, want) {
				t.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// Three maps' worth of sources that logs find take the room there is and nobody's place. That
// some are refused is a fault for as long as there is no room.
func TestASprayOfFindingsPushesNobodyOut(t *testing.T) {
	const room = 2048
	b := newBench(t, keys{"maxbans": fmt.Sprint(room)})
	var quiet []netip.Addr
	for i := range 200 {
		quiet = append(quiet, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
		b.hear(finding(quiet[i]))
	}
	source := netip.MustParseAddr("10.0.0.0")
	const spray = 3 * 2 * room
	for range spray {
		source = source.Next()
		b.hear(finding(source))
	}
	live := func() int {
		status, err := b.service.Status(t.Context())
		must(t, err)
		return status.Bans.Live
	}
	for len(b.found) > 0 || live() < room {
		<-time.After(time.Millisecond)
	}
	c, err := b.service.Verify(t.Context(), control.VerifyRequest{})
	must(t, err)
	if c.Compared.Wanted != room || c.Compared.Enforced != room || c.Compared.Repaired != 0 {
		t.Errorf("compared: %+v", c.Compared)
	}
	b.loop(func() {
		for _, addr := range quiet {
			if !b.inKernel(addr) {
				t.Errorf("%v was pushed out", addr)
			}
		}
		if !b.faults.at("bans") || len(b.refused) > batch || b.givenUp == 0 {
			t.Errorf("faults %q, %d refused and %d given up", b.faults.list(), len(b.refused), b.givenUp)
		}
		if all := room + len(b.refused) + int(b.givenUp); all != len(quiet)+spray {
			t.Errorf("%d were in force, refused or given up, want %d", all, len(quiet)+spray)
		}
	})
	status, err := b.service.Status(t.Context())
	must(t, err)
	if r := status.Rooms[0]; r.Used != room || r.Max != room || r.Key != "maxbans" {
		t.Errorf("room: %+v", r)
	}
	_, err = b.service.Unban(t.Context(), control.UnbanRequest{Addresses: quiet})
	must(t, err)
	for faulty := true; faulty; { // those that were refused take the places
		b.loop(func() {
			b.sweep()
			faulty = b.bans.Len() < room
		})
	}
}

// BenchmarkBusyLoop has a million bans go in, be listed, be compared and go out, and says what
// that takes and how long findings wait meanwhile, against a daemon with nothing to do.
func BenchmarkBusyLoop(b *testing.B) {
	const n = 1_000_000
	text := listFrom("10.0.0.0", n)
	for b.Loop() {
		d := newBench(b, keys{"maxbans": fmt.Sprint(n)})
		var turns []time.Time // of the list that goes in, when each began
		d.spy.on(func(what string, bans []ban.Ban) error {
			if what == "ban" && len(bans) == batch {
				turns = append(turns, time.Now())
			}
			return nil
		})
		idle := d.waits(func() { <-time.After(time.Second) })
		b.ReportMetric(idle.Seconds()*1000, "idle-p99-ms")
		for _, work := range []struct {
			name string
			do   func() error
		}{
			{"in", func() error {
				_, err := d.service.Ban(b.Context(), control.BanRequest{List: strings.NewReader(text)})
				return err
			}},
			{"list", func() error { return d.service.Bans(b.Context(), func(control.Ban) error { return nil }) }},
			{"compare", func() error { _, err := d.service.Verify(b.Context(), control.VerifyRequest{}); return err }},
			{"out", func() error { _, err := d.service.Unban(b.Context(), control.UnbanRequest{All: true}); return err }},
		} {
			began, cpu := time.Now(), cpuTime(b)
			wait := d.waits(func() { must(b, work.do()) })
			b.ReportMetric(time.Since(began).Seconds(), work.name+"-s")
			b.ReportMetric((cpuTime(b) - cpu).Seconds(), work.name+"-cpu-s")
			b.ReportMetric(wait.Seconds()*1000, work.name+"-p99-ms")
		}
		var lengths []time.Duration
		for i := 1; i < len(turns); i++ {
			lengths = append(lengths, turns[i].Sub(turns[i-1]))
		}
		slices.Sort(lengths)
		b.ReportMetric(lengths[len(lengths)/2].Seconds()*1000, "turn-p50-ms")
	}
	b.ReportMetric(0, "ns/op")
}

// waits says how long findings took to be in force while do was done: of a hundred, all but
// one took no longer.
func (b *bench) waits(do func()) time.Duration {
	b.Helper()
	bans := pinnedBans(b, b.config.Pin)
	value := make([]byte, bans.ValueSize())
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	var times []time.Duration
	for source := netip.MustParseAddr("192.0.2.0"); ; source = source.Next() {
		select {
		case <-done:
			slices.Sort(times)
			return times[len(times)*99/100]
		case <-time.After(time.Millisecond):
		}
		began := time.Now()
		b.hear(finding(source))
		for key := source.As16(); bans.Lookup(key, value) != nil; {
			runtime.Gosched()
		}
		times = append(times, time.Since(began))
	}
}

// cpuTime is what this process has used so far.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
