package ban_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"xdpban/internal/ban"
)

// second is t as an account keeps it.
func second(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return time.Unix(t.Unix(), 0)
}

func nextSecond(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return second(t.Add(time.Second - 1))
}

// kept is b as an account keeps it.
func kept(b ban.Ban) ban.Ban {
	b.Since, b.End, b.Limit = second(b.Since), nextSecond(b.End), nextSecond(b.Limit)
	return b
}

// An account does what a map of bans does.
func TestAccountAgreesWithAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		account, model := ban.NewAccount(), make(map[netip.Prefix]ban.Ban)
		now := noon
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				b := anyBan(t, "ban")
				b.Prefix = anyPrefix(t)
				b.Jail = rapid.SampledFrom([]string{"sshd", "web"}).Draw(t, "jail")
				b.Reason = rapid.SampledFrom([]string{"", "x"}).Draw(t, "reason")
				b.Hand, b.Forced = rapid.Bool().Draw(t, "hand"), rapid.Bool().Draw(t, "forced")
				account.Put(b)
				model[b.Prefix] = kept(b)
			},
			"delete": func(t *rapid.T) {
				prefix := anyPrefix(t)
				_, there := model[prefix]
				if account.Delete(prefix) != there {
					t.Fatalf("delete %v: want %v", prefix, there)
				}
				delete(model, prefix)
			},
			"move": func(t *rapid.T) {
				prefix, end := anyPrefix(t), noon.Add(anyDuration(t, "end"))
				account.Move(prefix, end)
				if b, there := model[prefix]; there {
					b.End = nextSecond(end)
					model[prefix] = b
				}
			},
			"note": func(t *rapid.T) {
				r := ban.Record{Ban: ban.Ban{Prefix: anyPrefix(t), End: noon.Add(anyDuration(t, "end"))}}
				b, there := model[r.Prefix]
				if _, known := account.Note(r, 0); known != there {
					t.Fatalf("note %v: want %v", r.Prefix, there)
				}
				if end := nextSecond(r.End); there && end.After(b.End) {
					b.End = end
					model[r.Prefix] = b
				}
			},
			"due": func(t *rapid.T) {
				now = now.Add(anyDuration(t, "now").Abs())
				most := rapid.IntRange(1, 4).Draw(t, "most")
				want := 0
				for _, b := range model {
					if !b.End.After(now) {
						want++
					}
				}
				due := account.Due(now, most)
				if len(due) != min(want, most) {
					t.Fatalf("due: got %v, want %d of %d", due, most, want)
				}
				for _, prefix := range due {
					if model[prefix].End.After(now) || !account.Delete(prefix) {
						t.Fatalf("%v is not due", prefix)
					}
					delete(model, prefix)
				}
			},
			"": func(t *rapid.T) {
				got, jails := make(map[netip.Prefix]ban.Ban), make(map[string]int)
				for b := range account.All {
					got[b.Prefix] = b
				}
				for prefix, b := range model {
					jails[b.Jail]++
					if one, there := account.Get(prefix); one != b || !there || !account.Has(prefix) {
						t.Fatalf("get %v: got %+v, want %+v", prefix, one, b)
					}
				}
				if !maps.Equal(got, model) || account.Len() != len(model) || !maps.Equal(account.Jails(), jails) {
					t.Fatalf("got %v (%d, %v), want %v", got, account.Len(), account.Jails(), model)
				}
			},
		})
	})
}

// An arranged list is each of its sources once, those that share a page beside each other, and room
// that is made for them changes nothing.
func TestAccountArrangesALongList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		account := ban.NewAccount()
		list := rapid.SliceOf(rapid.Custom(anyPrefix)).Draw(t, "list")
		sources := new(ban.List)
		for _, prefix := range slices.Concat(list, list) {
			sources.AddPrefix(prefix)
		}
		account.Arrange(sources)
		var got []netip.Prefix
		for i := range sources.Len() {
			prefix, _ := sources.At(i)
			got = append(got, prefix)
		}
		slices.SortFunc(list, ban.Compare)
		list = slices.Compact(list)
		if ordered := slices.SortedFunc(slices.Values(got), ban.Compare); !slices.Equal(ordered, list) {
			t.Fatalf("got %v, want %v", ordered, list)
		}
		spots := make([]ban.Spot, len(got))
		for i, prefix := range got {
			spots[i] = account.Find(prefix)
		}
		account.Expect(len(spots), func(i int) *ban.Spot { return &spots[i] })
		if account.Len() != 0 {
			t.Fatalf("%d bans came of nothing", account.Len())
		}
		for i, prefix := range got {
			account.PutAt(&spots[i], &ban.Ban{Prefix: prefix, End: noon})
		}
		var inPages []netip.Prefix
		for b := range account.All {
			inPages = append(inPages, b.Prefix)
		}
		if !slices.Equal(inPages, got) {
			t.Fatalf("pages have %v, arranged was %v", inPages, got)
		}
	})
}

// Whom prefixes meet is found the same whether they are all single addresses or not.
func TestAccountFindsWhomPrefixesMeet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		account := ban.NewAccount()
		banned := rapid.SliceOf(rapid.Custom(anyPrefix)).Draw(t, "banned")
		for _, prefix := range banned {
			account.Put(ban.Ban{Prefix: prefix, End: noon})
		}
		set := new(ban.Set)
		single := rapid.Bool().Draw(t, "single")
		for _, prefix := range rapid.SliceOf(rapid.Custom(anyPrefix)).Draw(t, "set") {
			if single {
				prefix = ban.Single(prefix.Addr())
			}
			set.Add(prefix, "")
		}
		var want []netip.Prefix
		for _, prefix := range banned {
			for other := range set.All {
				if other.Overlaps(prefix) && !slices.Contains(want, prefix) {
					want = append(want, prefix)
				}
			}
		}
		var got []netip.Prefix
		for _, b := range account.Meeting(set) {
			got = append(got, b.Prefix)
		}
		if !sameElements(got, want) {
			t.Fatalf("%v meets %v, want %v", slices.Collect(maps.Keys(maps.Collect(set.All))), got, want)
		}
	})
}

// A comparison finds whom nobody has noted since it began, and each place has its own.
func TestAccountKnowsWhomNobodyNoted(t *testing.T) {
	account := ban.NewAccount()
	all := []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32"), netip.MustParsePrefix("2001:db8::/64")}
	for _, prefix := range all {
		account.Put(ban.Ban{Prefix: prefix, End: noon})
	}
	unseen := func(place int) (list []netip.Prefix) {
		for page := range account.Pages() {
			for _, b := range account.Unseen(page, place) {
				list = append(list, b.Prefix)
			}
		}
		return list
	}
	for round := range 600 { // more than a mark can tell apart
		account.Begin()
		account.Note(ban.Record{Ban: ban.Ban{Prefix: all[round%3]}}, 0)
		account.Put(ban.Ban{Prefix: all[round%3], End: noon.Add(time.Hour)}) // a renewal does not count
		late := netip.MustParsePrefix("192.0.2.3/32")
		account.Put(ban.Ban{Prefix: late, End: noon})
		if got := unseen(0); len(got) != 2 || slices.Contains(got, all[round%3]) {
			t.Fatalf("round %d: got %v unseen", round, got)
		}
		if got := unseen(1); !sameElements(got, slices.Clone(all)) {
			t.Fatalf("round %d, the other place: got %v unseen", round, got)
		}
		account.Delete(late)
	}
}

func TestAccountKnowsWhenAPacketCame(t *testing.T) {
	account := ban.NewAccount()
	r := ban.Record{Ban: ban.Ban{Prefix: netip.MustParsePrefix("192.0.2.7/32"), End: noon}, Tally: ban.Tally{Seen: noon.Add(time.Second)}}
	account.Put(r.Ban)
	for i, want := range []time.Time{{}, second(noon.Add(time.Second)), second(noon.Add(time.Minute))} {
		if before, _ := account.Note(r, 0); !before.Equal(want) {
			t.Errorf("note %d: got %v, want %v", i, before, want)
		}
		r.Seen = noon.Add(time.Minute)
		account.Put(r.Ban) // forgets nothing
	}
}

// BenchmarkAccount is of an account alone, with random sources.
func BenchmarkAccount(b *testing.B) {
	for _, n := range []int{1000, 1_000_000} {
		prefixes := make([]netip.Prefix, n)
		for i := range prefixes {
			prefixes[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
		}
		account := ban.NewAccount()
		put := func(prefix netip.Prefix) { account.Put(ban.Ban{Prefix: prefix, Jail: "sshd", Since: noon, End: noon}) }
		for _, prefix := range prefixes {
			put(prefix)
		}
		b.Run(fmt.Sprintf("get/bans=%d", n), func(b *testing.B) {
			for b.Loop() {
				account.Get(prefixes[rand.IntN(n)])
			}
		})
		b.Run(fmt.Sprintf("delete+put/bans=%d", n), func(b *testing.B) {
			for b.Loop() {
				prefix := prefixes[rand.IntN(n)]
				account.Delete(prefix)
				put(prefix)
			}
		})
		b.Run(fmt.Sprintf("due/bans=%d", n), func(b *testing.B) {
			for b.Loop() {
				account.Due(noon.Add(-time.Hour), 1024)
			}
		})
	}
}
