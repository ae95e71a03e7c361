package fallback_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xdpban/fallback"
	"xdpban/internal/ban"
)

func TestABanHoldsUntilItIsEnded(t *testing.T) {
	onEach(t, func(s *site) {
		s.wantPass(attacker, attacker6, other)
		s.ban(aBan(attacker), aBan("2001:db8:0:7::/64"), aBan("203.0.113.0/24"))
		s.wantDrop(attacker, attacker6, neighbour6, other)
		s.wantPass(bystander, bystander6)
		s.wantDrop(attacker, attacker6, neighbour6, other)
		if got := s.unban(attacker, "2001:db8:0:7::/64", "203.0.113.0/24", "192.0.2.1"); got != 3 {
			s.Errorf("%d bans ended, want 3", got)
		}
		s.wantPass(attacker, attacker6, neighbour6, other)
		if left := s.bans(); len(left) != 0 {
			s.Errorf("left: %v", left)
		}
		if rules := s.rulesOf(fallback.Name); slices.ContainsFunc(rules, func(r string) bool { return strings.Contains(r, attacker) }) {
			s.Errorf("a rule is left: %q", rules)
		}
	})
}

// soon makes classes for bans of this quiettime, then bans that end after so long, and says when these began: a
// busy machine may need a second or two for them.
func (s *site) soon(length, quiet, limit time.Duration, prefixes ...string) (since time.Time) {
	s.Helper()
	s.banFor(time.Hour, quiet, limit, prefixes...)
	s.unban(prefixes...)
	return s.banFor(length, quiet, limit, prefixes...)
}

func (s *site) banFor(length, quiet, limit time.Duration, prefixes ...string) (since time.Time) {
	s.Helper()
	since = time.Now()
	var bans []ban.Ban
	for _, prefix := range prefixes {
		b := aBan(prefix)
		b.End, b.Quiet = b.Since.Add(length), quiet
		if limit > 0 {
			b.Limit = b.Since.Add(limit)
		}
		bans = append(bans, b)
	}
	s.ban(bans...)
	return since
}

var short = []string{attacker, "203.0.113.0/24", "2001:db8:0:7::/64"}

func TestPacketsProlongABanAndQuietEndsIt(t *testing.T) {
	onEach(t, func(s *site) {
		since := s.soon(4*second, 3*second, 0, short...)
		var last time.Time
		for time.Since(since) < 6*second {
			last = time.Now()
			s.wantDrop(attacker, neighbour6, other)
			s.sweep()
		}
		s.await(patience, "the end of the bans", func() bool {
			_, missing := s.sweep()
			return len(missing) == 0 && len(s.bans()) == 0
		})
		if quiet := time.Since(last); quiet < 3*second {
			s.Errorf("they ended %v after the last packets, want 3 s", quiet)
		}
		s.wantPass(attacker, neighbour6, other)
	})
}

func TestBansEndAndMoveWithNoDaemon(t *testing.T) {
	sets := []rung{{fallback.NFT, fallback.IPSet}, {fallback.Legacy, fallback.IPSet}}
	onEachOf(t, sets, nil, func(s *site) {
		since := s.soon(4*second, 3*second, 0, short...)
		for time.Since(since) < 6*second {
			s.wantDrop(attacker, neighbour6, other)
		}
		time.Sleep(4 * second)
		s.wantPass(attacker, neighbour6, other)
	})
}

func TestARuleOfRecentEndsWithNoDaemon(t *testing.T) {
	lists := []rung{{fallback.NFT, fallback.Recent}, {fallback.Legacy, fallback.Recent}}
	onEachOf(t, lists, nil, func(s *site) {
		s.soon(4*second, 0, 0, short...)
		s.wantDrop(attacker, neighbour6, other)
		time.Sleep(5 * second)
		s.wantPass(attacker, neighbour6, other)
	})
}

func TestNoPacketMovesTheEndPastTheLimit(t *testing.T) {
	onEach(t, func(s *site) {
		since := s.soon(3*second, time.Hour, 8*second, short...)
		for time.Since(since) < 5*second {
			s.wantDrop(attacker, neighbour6, other)
			s.sweep()
		}
		s.await(patience, "the limit", func() bool {
			return s.passes(attacker) && s.passes(neighbour6) && s.passes(other)
		})
		if held := time.Since(since); held < 7500*millisecond {
			s.Errorf("it ended after %v, want 8 s", held)
		}
		s.sweep()
		if left := s.bans(); len(left) != 0 {
			s.Errorf("left: %v", left)
		}
	})
}

func TestAPacketNeverShortensABan(t *testing.T) {
	onEach(t, func(s *site) {
		s.banFor(time.Hour, second, 0, short...)
		s.wantDrop(attacker, neighbour6, other)
		time.Sleep(2 * second)
		s.wantDrop(attacker, neighbour6, other)
		for prefix, r := range s.bans() {
			if left := time.Until(r.End); left < 59*time.Minute {
				s.Errorf("%s ends in %v", prefix, left)
			}
		}
	})
}

func TestTheAllowListIsSpared(t *testing.T) {
	onEach(t, func(s *site) {
		s.allow(other, bystander6)
		forced := aBan(bystander6)
		forced.Forced = true
		s.ban(aBan("203.0.113.0/24"), aBan("2001:db8::/32"))
		s.wantPass(other, bystander6)
		s.wantDrop(attacker6)
		v := s.test(other)
		if v.Drop || v.By.Prefix.String() != "203.0.113.0/24" || v.Note != "the allow list holds it" {
			s.Errorf("Test says %+v", v)
		}
		s.ban(forced)
		s.wantDrop(bystander6)
		s.unban(bystander6)
		s.wantPass(bystander6)
		s.allow(bystander6)
		s.wantDrop(other)
		var totals ban.Totals
		s.do(func() (err error) { totals, err = s.chain.Totals(); return err })
		if totals.Allowed.Packets != 3 || totals.Dropped.Packets < 3 {
			s.Errorf("totals are %+v, want 3 allowed and 3 or more dropped", totals)
		}
	})
}

// A SIP client that has talked to the server is known to conntrack, and most firewalls
// accept what is known first of all.
func TestAnEstablishedFlowStopsAtOnce(t *testing.T) {
	onEach(t, func(s *site) {
		s.run(s.command("iptables"), "-I", "INPUT", "1", "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT")
		s.do(func() error { _, err := s.chain.Mend(true); return err })
		s.send(attacker, "echo")
		s.await(patience, "the flow", func() bool {
			return strings.Contains(s.run("conntrack", "-L", "-p", "udp"), "src="+attacker)
		})
		s.wantPass(attacker)
		s.ban(aBan(attacker))
		s.wantDrop(attacker)
		for _, rule := range s.rulesOf("INPUT")[:1] {
			if rule != "-A INPUT -j OFFENDINGIPS" {
				s.Errorf("first in INPUT is %q", rule)
			}
		}
	})
}

func TestTheChainIsFirstWhereItShouldBe(t *testing.T) {
	onEachOf(t, rungs, func(s *fallback.Settings) { s.Forward = true }, func(s *site) {
		s.run(s.command("iptables"), "-N", "DOCKER-USER")
		s.run(s.command("iptables"), "-A", "DOCKER-USER", "-j", "RETURN")
		s.do(func() error { _, err := s.chain.Mend(true); return err })
		for _, head := range []string{"INPUT", "FORWARD", "DOCKER-USER"} {
			if rules := s.rulesOf(head); rules[0] != "-A "+head+" -j OFFENDINGIPS" {
				s.Errorf("%s is %q", head, rules)
			}
		}
	})
}

func TestWhatOthersTakeOutIsPutBack(t *testing.T) {
	nft := [][]string{{"nft", "flush", "ruleset"}, {"nft", "delete", "table", "ip", "filter"}, {"nft", "flush", "chain", "ip", "filter", "INPUT"}}
	for _, r := range rungs {
		t.Run(r.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, r, nil)
			s.ban(aBan(attacker), aBan("203.0.113.0/24"))
			iptables, kept := s.command("iptables"), filepath.Join(t.TempDir(), "kept")
			wipes := [][]string{
				{iptables, "-F"},
				{iptables, "-D", "INPUT", "-j", fallback.Name},
				{iptables, "-F", fallback.Name},
				{iptables, "-I", "INPUT", "-j", "ACCEPT"},
				{"sh", "-c", iptables + " -F; " + iptables + " -X"},
				{"sh", "-c", "printf '*filter\\n:INPUT ACCEPT [0:0]\\n-A INPUT -j ACCEPT\\nCOMMIT\\n' | " + iptables + "-restore"},
				{"sh", "-c", iptables + "-save > " + kept + "; " + iptables + " -F; " + iptables + "-restore < " + kept},
			}
			if r.kind == fallback.NFT {
				wipes = append(wipes, nft...)
			}
			for _, wipe := range wipes {
				s.wantDrop(attacker, other)
				s.run(wipe[0], wipe[1:]...)
				var mended []string
				s.do(func() (err error) {
					mended, err = s.chain.Mend(r.kind == fallback.NFT) // as at news of the kernel
					return err
				})
				if len(mended) == 0 && !strings.Contains(strings.Join(wipe, " "), "kept") {
					s.Errorf("%q: mended %q", wipe, mended)
				}
				s.wantDrop(attacker, other)
			}
			s.do(func() error {
				if mended, err := s.chain.Mend(true); len(mended) > 0 || err != nil {
					return fmt.Errorf("nothing was wrong, yet: %q, %w", mended, err)
				}
				return nil
			})
		})
	}
}

// Others may flush the tables between our writing the chain and our reading how it looks.
func TestAFlushRightAfterTheChainIsWrittenIsSeen(t *testing.T) {
	for _, r := range rungs {
		t.Run(r.String(), func(t *testing.T) {
			dir := t.TempDir()
			name := "iptables-" + string(r.kind)
			real, err := exec.LookPath(name)
			must(t, err)
			must(t, os.Symlink(real, filepath.Join(dir, name)))
			flushes := filepath.Join(dir, "flushes")
			script := fmt.Sprintf("#!/bin/sh\n%s-restore \"$@\" || exit\nif rm %s 2> /dev/null; then %s -F; %s -X; fi\n", real, flushes, real, real)
			must(t, os.WriteFile(filepath.Join(dir, name+"-restore"), []byte(script), 0o755))
			t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
			s := newSite(t, r, nil)
			s.ban(aBan(attacker))
			for _, before := range []string{"-F", "-D INPUT -j OFFENDINGIPS"} {
				s.run(name, strings.Fields(before)...)
				must(t, os.WriteFile(flushes, nil, 0o600))
				s.do(func() error {
					mended, err := s.chain.Mend(true)
					if len(mended) != 1 {
						t.Errorf("after %s: mended %q", before, mended)
					}
					return err
				})
				if _, err := os.Stat(flushes); err == nil {
					t.Errorf("after %s: nothing was flushed", before)
				}
				s.wantDrop(attacker)
			}
			s.do(func() error { // and the same while a ban is made
				must(t, os.WriteFile(flushes, nil, 0o600))
				if err := s.chain.Ban(ban.Ban{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Since: time.Now(), End: time.Now().Add(time.Hour)}); err != nil {
					return err
				}
				_, err := s.chain.Mend(true)
				return err
			})
			s.wantDrop(attacker, other)
		})
	}
}

func TestTheNextDaemonFindsItsBans(t *testing.T) {
	onEach(t, func(s *site) {
		b := aBan(attacker)
		b.Reason, b.Hand = `quo"te's, 100 % = \ ü`, true
		b.Limit = b.Since.Add(24 * time.Hour)
		net := aBan("203.0.113.0/24")
		net.Quiet = time.Minute
		s.ban(b, net, aBan("2001:db8:0:7::/64"))
		s.wantDrop(attacker, other, attacker6)
		before := s.bans()
		s.open()
		after := s.bans()
		for prefix, was := range before {
			is := after[prefix]
			for _, pair := range [][2]time.Time{{was.Since, is.Since}, {was.End, is.End}, {was.Limit, is.Limit}} {
				if d := pair[0].Sub(pair[1]).Abs(); d > 2*second {
					s.Errorf("%s: %v became %v", prefix, pair[0], pair[1])
				}
			}
			was.Since, was.End, was.Limit, was.Tally = is.Since, is.End, is.Limit, is.Tally
			if was != is {
				s.Errorf("%+v became %+v", was, is)
			}
		}
		if len(after) != 3 {
			s.Errorf("adopted %v", after)
		}
		s.wantDrop(attacker, other, attacker6)
		s.unban(attacker, "203.0.113.0/24", "2001:db8:0:7::/64")
		s.wantPass(attacker, other, attacker6)
	})
}

func TestARenewedBanTakesWhateverLastsLonger(t *testing.T) {
	onEach(t, func(s *site) {
		s.banFor(time.Hour, time.Minute, 0, short...)
		s.banFor(time.Minute, 2*time.Hour, 0, short...)
		s.wantDrop(attacker, neighbour6, other)
		bans := s.bans()
		if len(bans) != 3 {
			s.Errorf("%d bans, want 3: %v", len(bans), bans)
		}
		for prefix, r := range bans {
			if left := time.Until(r.End); left < 119*time.Minute || r.Quiet != 2*time.Hour {
				s.Errorf("%s ends in %v and is prolonged by %v", prefix, left, r.Quiet)
			}
		}
	})
}

func TestRemoveLeavesNothing(t *testing.T) {
	onEach(t, func(s *site) {
		s.run(s.command("iptables"), "-A", "INPUT", "-s", "192.0.2.1", "-j", "ACCEPT")
		s.ban(aBan(attacker), aBan("203.0.113.0/24"), aBan("2001:db8:0:7::/64"))
		s.do(fallback.Remove)
		s.wantPass(attacker, other, attacker6)
		left := s.run(s.command("iptables"), "-S") + s.run(s.command("ip6tables"), "-S") + s.run("ipset", "list", "-n")
		const want = "-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n-A INPUT -s 192.0.2.1/32 -j ACCEPT\n" +
			"-P INPUT ACCEPT\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n"
		if left != want {
			s.Errorf("left:\n%s", left)
		}
	})
}

func TestTheKernelLogsWhoComesBack(t *testing.T) {
	for _, quietly := range []bool{false, true} {
		t.Run(fmt.Sprintf("quietly-%v", quietly), func(t *testing.T) {
			where := rungs
			if quietly {
				where = rungs[1:3]
			}
			onEachOf(t, where, func(s *fallback.Settings) { s.Quietly = quietly }, func(s *site) {
				s.soon(time.Hour, 2*second, 0, attacker)
				s.wantDrop(attacker, attacker)
				time.Sleep(2500 * millisecond)
				s.wantDrop(attacker, attacker)
				want := "-c 2 "
				if quietly {
					want = ""
				}
				for line := range strings.Lines(s.run(s.command("iptables"), "-v", "-S", fmt.Sprintf("OFFENDINGIPS-32-%.0f", 2*second.Seconds()))) {
					if strings.Contains(line, "-j LOG") && (quietly || !strings.Contains(line, want)) {
						s.Errorf("logged otherwise than once for each time that it came: %s", line)
					}
				}
				if quietly == strings.Contains(s.rules(), logPrefix) {
					s.Errorf("the rule that logs is there: %v", !quietly)
				}
			})
		})
	}
}

// However many banned sources come, the kernel's log gets ten lines, and thirty a minute then.
func TestTheLogIsLimited(t *testing.T) {
	onEach(t, func(s *site) {
		var sources, cidrs []string
		for addr := netip.MustParseAddr("198.51.100.100"); len(sources) < 40; addr = addr.Next() {
			sources, cidrs = append(sources, addr.String()), append(cidrs, addr.String()+"/24")
		}
		must(s.T, s.peer.Address("eth0", cidrs...))
		s.introduce(s.server, s.peer, cidrs)
		s.banFor(time.Hour, time.Hour, 0, sources...)
		begin := time.Now()
		for _, source := range sources {
			s.send(source, "hello")
		}
		s.wantPass(bystander)
		logged := 0
		for line := range strings.Lines(s.run(s.command("iptables"), "-v", "-S", "OFFENDINGIPS-32-3600")) {
			if _, count, found := strings.Cut(line, " -c "); found && strings.Contains(line, "-j LOG") {
				fmt.Sscan(count, &logged) //nolint:errcheck // none, then
			}
		}
		if most := 11 + int(time.Since(begin)/(2*time.Second)); logged < 10 || logged > most {
			s.Errorf("%d lines for %d sources, want 10 to %d:\n%s", logged, len(sources), most, s.rules())
		}
	})
}

const logPrefix = `--log-prefix "Attacker`

func TestABanOfTheOtherIptablesIsNotLeft(t *testing.T) {
	s := newSite(t, rungs[1], nil)
	s.ban(aBan(attacker))
	s.settings.Kind, s.rung = fallback.NFT, rungs[0]
	s.open()
	s.wantDrop(attacker) // the sets are the same
	if left := s.run("iptables-legacy", "-S"); strings.Contains(left, fallback.Name) {
		s.Errorf("legacy: %s", left)
	}
	s.unban(attacker)
	s.wantPass(attacker)
}

func TestTheKindInUseIsFound(t *testing.T) {
	for _, kind := range []fallback.Kind{fallback.NFT, fallback.Legacy} {
		s := newSite(t, rung{kind, fallback.IPSet}, nil)
		s.do(fallback.Remove)
		s.run(s.command("iptables"), "-A", "INPUT", "-p", "icmp", "-j", "ACCEPT")
		s.settings.Kind = ""
		s.open()
		if got := s.chain.Kind(); got != kind {
			t.Errorf("found %s, want %s", got, kind)
		}
	}
}

func TestBansBeyondTheRoomAreRefused(t *testing.T) {
	onEachOf(t, rungs, func(s *fallback.Settings) { s.MaxBans, s.MaxPrefixes = 4, 2 }, func(s *site) {
		var bans []ban.Ban
		for addr := netip.MustParseAddr("192.0.2.1"); len(bans) < 11; addr = addr.Next() {
			bans = append(bans, aBan(addr.String()))
		}
		must(s.T, s.server.Do(func() error { return s.chain.Ban(bans[:8]...) }))
		err := s.server.Do(func() error { return s.chain.Ban(bans[8:]...) })
		if err == nil || !strings.Contains(err.Error(), "raise maxbans") {
			s.Errorf("the error is %v", err)
		}
		if got := len(s.bans()); got != 8 {
			s.Errorf("%d bans, want the 8 of before", got)
		}
		if got := s.unban("192.0.2.1"); got != 1 {
			s.Errorf("ended %d", got)
		}
		s.ban(bans[8])
	})
}

// The kernel's list holds 100 addresses: the 101st pushes the first one out, which would
// end its refresh.
func TestAFullListCostsNobodyItsRefresh(t *testing.T) {
	lists := []rung{{fallback.NFT, fallback.Recent}, {fallback.Legacy, fallback.Recent}}
	onEachOf(t, lists, nil, func(s *site) {
		size := fallback.ListSize()
		prefixes := []string{attacker}
		for addr := netip.MustParseAddr("192.0.2.1"); len(prefixes) <= size; addr = addr.Next() {
			prefixes = append(prefixes, addr.String())
		}
		quiet := 60 * second
		since := s.soon(12*second, quiet, 0, prefixes...)
		if notes := strings.Join(s.chain.Notes(), "\n"); !strings.Contains(notes, "xt_recent") || !strings.Contains(notes, "ip_list_tot=4096") {
			s.Errorf("no word of lists that are too small: %q", notes)
		}
		s.wantDrop(attacker)
		s.do(func() error {
			list := fmt.Sprintf("/proc/thread-self/net/xt_recent/ATTACKER4-32-%.0f", quiet.Seconds())
			for _, other := range prefixes[1:] {
				if err := os.WriteFile(list, []byte("+"+other), 0); err != nil {
					return err
				}
			}
			return nil
		})
		s.await(patience, "the end of the ban as it was made", func() bool {
			s.sweep()
			time.Sleep(100 * time.Millisecond)
			return time.Since(since) > 13*second
		})
		s.wantDrop(attacker)
		if left := time.Until(s.bans()[attacker+"/32"].End); left < 30*second {
			s.Errorf("the ban ends in %v", left)
		}
	})
}

func TestManyBansGoInAtOnce(t *testing.T) {
	const many = 10000
	onEachOf(t, rungs, func(s *fallback.Settings) { s.MaxBans = many }, func(s *site) {
		bans := []ban.Ban{aBan(attacker)}
		for addr := netip.MustParseAddr("10.0.0.1"); len(bans) < many; addr = addr.Next() {
			bans = append(bans, aBan(addr.String()))
		}
		begin := time.Now()
		s.ban(bans...)
		s.Logf("%d bans in %v", many, time.Since(begin))
		s.wantDrop(attacker)
		s.wantPass(bystander)
		if got := len(s.bans()); got != many {
			s.Errorf("%d bans, want %d", got, many)
		}
		var all []netip.Prefix
		for _, b := range bans {
			all = append(all, b.Prefix)
		}
		begin = time.Now()
		s.do(func() error { _, err := s.chain.Unban(all...); return err })
		s.Logf("%d ended in %v", many, time.Since(begin))
		s.wantPass(attacker)
		if got := len(s.bans()); got != 0 {
			s.Errorf("%d bans are left", got)
		}
	})
}

func TestTheRoomMayChange(t *testing.T) {
	sets := []rung{{fallback.NFT, fallback.IPSet}, {fallback.Legacy, fallback.IPSet}}
	onEachOf(t, sets, nil, func(s *site) {
		s.banFor(time.Hour, time.Hour, 0, short...)
		s.wantDrop(attacker, other, attacker6)
		s.settings.MaxBans, s.settings.MaxPrefixes, s.settings.MaxAllowed = 100, 50, 20
		s.open()
		s.wantDrop(attacker, other, attacker6)
		if got := len(s.bans()); got != 3 {
			s.Errorf("%d bans, want 3", got)
		}
		if left := s.run("ipset", "list", "-n"); strings.Contains(left, "~") {
			s.Errorf("left: %s", left)
		}
	})
}

func TestWhatIsGoneFromTheSetsIsMissing(t *testing.T) {
	sets := []rung{{fallback.NFT, fallback.IPSet}}
	onEachOf(t, sets, nil, func(s *site) {
		s.soon(second, time.Hour, 0, attacker)
		s.run("ipset", "flush", "xdpban4-32-3600-life")
		s.await(patience, "the end", func() bool {
			_, missing := s.sweep()
			return slices.Equal(missing, prefixesOf([]string{attacker}))
		})
	})
}

// A host that lacks ip6tables bans by iptables, and says what it does not do.
func TestTheFamiliesFailApart(t *testing.T) {
	s := newSite(t, rungs[0], nil)
	s.do(fallback.Remove)
	dir := t.TempDir()
	for _, name := range []string{"iptables-nft", "iptables-nft-restore"} {
		must(t, os.Symlink("/usr/sbin/xtables-nft-multi", filepath.Join(dir, name)))
	}
	t.Setenv("PATH", dir)
	var chain *fallback.Chain
	s.do(func() (err error) { chain, err = fallback.Open(s.settings); return err })
	s.chain = chain
	want := []string{"IPv4: ipset by iptables-nft", `IPv6 is NOT enforced: find ip6tables: exec: "ip6tables": executable file not found in $PATH`}
	if got := chain.Notes(); !slices.Equal(got, want) {
		t.Errorf("notes %q, want %q", got, want)
	}
	err := s.server.Do(func() error { return chain.Ban(aBan(attacker), aBan("2001:db8:0:7::/64")) })
	if err == nil || !strings.HasPrefix(err.Error(), "ban in the chain OFFENDINGIPS: IPv6: find ip6tables") {
		t.Errorf("the error is %v", err)
	}
	t.Setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
	s.wantDrop(attacker)
	s.wantPass(attacker6)
	s.do(func() error {
		mended, err := chain.Mend(true)
		if len(mended) != 1 || !strings.HasPrefix(mended[0], "IPv6 was not enforced: find ip6tables") {
			t.Errorf("mended %q", mended)
		}
		return errors.Join(err, chain.Ban(aBan("2001:db8:0:7::/64")))
	})
	s.wantDrop(attacker, attacker6)
}

// Where the kernel's sets do not do, there is the other strategy, and the reason for it.
func TestWithoutSetsThereAreRules(t *testing.T) {
	s := newSite(t, rungs[0], nil)
	s.do(fallback.Remove)
	s.run("ipset", "create", "xdpban4-allow", "hash:ip,port")
	s.settings.Strategy = ""
	s.do(func() (err error) { s.chain, err = fallback.Open(s.settings); return err })
	if got := s.chain.Strategy(netip.MustParseAddr(attacker)); got != fallback.Recent {
		t.Errorf("the strategy is %s", got)
	}
	if notes := strings.Join(s.chain.Notes(), "\n"); !strings.Contains(notes, "IPv4: ipset: exchange the set xdpban4-allow: type mismatch") {
		t.Errorf("notes: %s", notes)
	}
	if left := s.run("ipset", "list", "-n"); strings.Contains(strings.ReplaceAll(left, "xdpban4-allow", ""), "xdpban4") {
		t.Errorf("sets made in vain are left: %s", left)
	}
	s.ban(aBan(attacker))
	s.wantDrop(attacker)
}
