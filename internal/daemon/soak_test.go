package daemon

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xdpban/internal/ban"
	"xdpban/internal/control"
)

// soak is how long TestEverythingAtOnce goes on. `make soak` takes an hour, which shows what grows.
var soak = flag.Duration("soak", 5*time.Second, "how long TestEverythingAtOnce goes on")

// A life is a server on which anything may happen, and who is to be banned by then.
type life struct {
	*site
	random *rand.Rand
	want   map[netip.Prefix]string // and whose ban it is
	short  map[netip.Prefix]bool   // who may be banned for a moment
	last   netip.Addr              // who was new last
	read   int                     // of the daemon's log
}

// happenings are what may happen, as often as their weights say.
var happenings = []struct {
	weight int
	happen func(*life)
}{
	{400, (*life).attacked},
	{150, (*life).chatter},
	{100, (*life).bannedByHand},
	{50, (*life).bannedShortly},
	{50, (*life).listed},
	{100, (*life).letIn},
	{30, (*life).rotated},
	{20, (*life).reloaded},
	{10, (*life).misconfigured},
	{20, (*life).compared},
	{20, (*life).forgotten},
}

// Logs, operators, rotations, reloads and losses come in any order, at first to one daemon after the other, then to
// one alone. Who is to be banned is, nobody else is, no packet of the attacker passes, and what the last
// daemon takes does not grow.
func TestEverythingAtOnce(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	l := &life{site: newSite(t, nativeMTU), random: rand.New(rand.NewPCG(seed, 0)), want: make(map[netip.Prefix]string), short: make(map[netip.Prefix]bool)}
	l.last = netip.MustParseAddr("10.0.0.0")
	l.configure(keys{"maxbans": "65536"})
	l.start()
	l.fail(attacker, 3)
	l.awaitBan(attacker)
	l.want[prefixes(attacker + "/32")[0]] = "sshd"
	a := l.attack(pace)
	for _, signal := range []unix.Signal{unix.SIGKILL, unix.SIGTERM, unix.SIGKILL} {
		l.goOn(*soak / 12)
		l.another(signal)
	}
	var uses []use
	for range 12 {
		l.goOn(*soak / 16)
		uses = append(uses, l.use())
		t.Logf("%+v, %d bans, %d packets", uses[len(uses)-1], len(l.want), a.count())
	}
	clear(l.short)
	l.check()
	if sent, passed := a.end(); sent < 100 || passed != 0 {
		t.Errorf("%d of %d packets passed", passed, sent)
	}
	l.wantPass(bystander)
	if *soak >= 10*time.Minute && grows(uses) { // a short life ends while it still grows up
		t.Errorf("what the daemon takes grows: %+v", uses)
	}
}

// goOn has things happen for a while, and then looks whether all is as it should be.
func (l *life) goOn(span time.Duration) {
	l.Helper()
	sum := 0
	for _, h := range happenings {
		sum += h.weight
	}
	for end := time.Now().Add(span); time.Now().Before(end); {
		n := l.random.IntN(sum)
		i := 0
		for ; n >= happenings[i].weight; i++ {
			n -= happenings[i].weight
		}
		happenings[i].happen(l)
	}
	l.check()
}

// another daemon takes the place of this one. It reads no line that was there before.
func (l *life) another(signal unix.Signal) {
	l.Helper()
	l.settled()
	must(l, l.running.Process.Signal(signal))
	l.exit(l.running)
	l.start()
}

// stranger is a source that has not been seen, nor its neighbour in a /31.
func (l *life) stranger() netip.Addr {
	l.last = l.last.Next().Next()
	return l.last
}

func (l *life) attacked() {
	l.Helper()
	source := l.stranger()
	l.fail(source.String(), 3)
	l.want[ban.Single(source)] = "sshd"
}

// chatter is lines that concern nobody, some of them no text.
func (l *life) chatter() {
	l.Helper()
	for range l.random.IntN(200) {
		_, err := fmt.Fprintf(l.authLog, "%s server sshd[4711]: %s\n", time.Now().Format(time.Stamp), strings.Repeat("\xff x ", l.random.IntN(100)))
		must(l, err)
	}
}

func (l *life) bannedByHand() {
	l.Helper()
	source := l.stranger()
	l.ban(control.BanRequest{Addresses: []netip.Addr{source}})
	l.want[ban.Single(source)] = ban.ByHand
}

func (l *life) bannedShortly() {
	l.Helper()
	source := l.stranger()
	l.ban(control.BanRequest{Addresses: []netip.Addr{source}, Seconds: 2})
	l.short[ban.Single(source)] = true
}

// listed bans addresses and prefixes from a list.
func (l *life) listed() {
	l.Helper()
	list := new(strings.Builder)
	for range 50 {
		prefix := netip.PrefixFrom(l.stranger(), 32-l.random.IntN(2)).Masked()
		fmt.Fprintln(list, prefix)
		l.want[prefix] = ban.ByHand
	}
	l.ban(control.BanRequest{List: strings.NewReader(list.String()), Name: "list"})
}

// letIn ends the bans of some, but not the attacker's.
func (l *life) letIn() {
	l.Helper()
	l.settled()
	var some []netip.Prefix
	for prefix := range l.want {
		if len(some) > len(l.want)/8 {
			break
		}
		if prefix.Addr().String() != attacker {
			some = append(some, prefix)
		}
	}
	for _, prefix := range some {
		delete(l.want, prefix)
	}
	l.unban(control.UnbanRequest{Prefixes: some})
}

// settled waits until all lines so far have led to bans.
func (l *life) settled() {
	l.Helper()
	source := l.stranger()
	l.fail(source.String(), 3)
	l.awaitBan(source.String())
	l.unban(control.UnbanRequest{Addresses: []netip.Addr{source}})
}

// rotated renames the log and begins another. One that is renamed before anybody could open it is read by nobody, so
// that the next begins when this one has been seen.
func (l *life) rotated() {
	l.Helper()
	must(l, os.Rename(l.path("auth.log"), l.path("auth.log.1")))
	next, err := os.OpenFile(l.path("auth.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(l, err)
	l.authLog.Close()
	l.authLog = next
	l.settled()
}

// reloaded counts failures anew.
func (l *life) reloaded() {
	l.Helper()
	l.settled()
	_, err := l.client.Reload(l.Context())
	must(l, err)
}

func (l *life) misconfigured() {
	l.Helper()
	l.configure(keys{"maxbans": "65536", "defaults": "{maxretry: none}"})
	if _, err := l.client.Reload(l.Context()); err == nil {
		l.Error("maxretry: none is taken")
	}
	l.configure(keys{"maxbans": "65536"})
}

func (l *life) compared() {
	l.Helper()
	_, err := l.client.Verify(l.Context(), control.VerifyRequest{})
	must(l, err)
}

// forgotten is a ban that the kernel lost, and that will be put back.
func (l *life) forgotten() {
	l.Helper()
	l.settled()
	for prefix, jail := range l.want {
		if jail == "sshd" && prefix.Addr().String() != attacker {
			l.evict(prefix.Addr())
			return
		}
	}
}

// check compares who is banned with who is to be.
func (l *life) check() {
	l.Helper()
	l.settled()
	reply, err := l.client.Verify(l.Context(), control.VerifyRequest{})
	must(l, err)
	if c := reply.Compared; c.Unknowns != 0 {
		l.Errorf("the kernel has bans that nobody wants: %+v", *c)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		wrong := l.wrong()
		if wrong == nil {
			break
		}
		if time.Now().After(end) {
			l.Fatal(strings.Join(wrong, "; "))
		}
	}
	if faults := l.status().Faults; len(faults) > 0 {
		l.Errorf("faults: %q", faults)
	}
	log := l.log()
	for line := range strings.Lines(log[l.read:]) {
		if strings.Contains(line, " ERROR ") {
			l.Errorf("%s", line)
		}
	}
	l.read = len(log)
}

// wrong is who is banned and should not be, and who is not and should be.
func (l *life) wrong() (wrong []string) {
	l.Helper()
	bans, err := l.client.Bans(l.Context())
	must(l, err)
	if more := l.status().Bans.Live - len(l.want); more < 0 || more > len(l.short) {
		wrong = append(wrong, fmt.Sprintf("%d bans are too many or too few", more))
	}
	live := make(map[netip.Prefix]string)
	for _, b := range bans {
		if live[b.Prefix] != "" {
			wrong = append(wrong, fmt.Sprintf("%v is listed twice", b.Prefix))
		}
		live[b.Prefix] = b.Jail
		if l.want[b.Prefix] != b.Jail && !l.short[b.Prefix] {
			wrong = append(wrong, fmt.Sprintf("%v is banned by %q", b.Prefix, b.Jail))
		}
	}
	for prefix, jail := range l.want {
		if live[prefix] == "" {
			wrong = append(wrong, fmt.Sprintf("%v is not banned by %q", prefix, jail))
		}
	}
	return wrong
}

// A use is what a daemon takes of its host.
type use struct {
	MiB         float64
	Descriptors int
	Threads     int
}

func (l *life) use() use {
	l.Helper()
	return use{l.resident(), l.entries("fd"), l.entries("task")}
}

// entries counts what /proc has of the daemon.
func (l *life) entries(dir string) int {
	l.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/%s", l.running.Process.Pid, dir))
	must(l, err)
	return len(list)
}

// grows compares the most of the second half with that of the first.
func grows(uses []use) bool {
	most := func(uses []use) (most use) {
		for _, u := range uses {
			most = use{max(most.MiB, u.MiB), max(most.Descriptors, u.Descriptors), max(most.Threads, u.Threads)}
		}
		return most
	}
	first, last := most(uses[:len(uses)/2]), most(uses[len(uses)/2:])
	return last.MiB > 1.25*first.MiB || last.Descriptors > first.Descriptors*5/4 || last.Threads > first.Threads*5/4
}
