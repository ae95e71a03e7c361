package daemon

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"xdpban/fallback"
	"xdpban/internal/ban"
	"xdpban/internal/control"
	"xdpban/jails"
	"xdpban/loader"
)

// An observer keeps account of bans and drops nothing, for a first look at what would happen.
type observer struct {
	pin  string // where an earlier run may have left something
	bans *ban.Account
	room uint32
}

func newObserver(config *jails.Config) *observer {
	return &observer{config.Pin, ban.NewAccount(), config.MaxBans}
}

func (o *observer) Attach(name string) (attachment, error) {
	return attachment{Interface: name, Mode: "observe", Refusals: []string{"enforce: observe drops nothing"}, Since: time.Now()}, nil
}

func (o *observer) Attachments() ([]attachment, error) { return nil, nil }

func (o *observer) Detach(string) error { return nil }

func (o *observer) Account() *ban.Account { return o.bans }

func (o *observer) Ban(bans ...ban.Ban) error {
	fresh := 0
	for _, b := range bans {
		if !o.bans.Has(b.Prefix) {
			fresh++
		}
	}
	if o.bans.Len()+fresh > 2*int(o.room) { // as many by hand as by logs
		return fmt.Errorf("note %d bans: the account is full, it holds %d", len(bans), o.bans.Len())
	}
	for _, b := range bans {
		renew(o.bans, b)
	}
	return nil
}

// renew takes b into account, renewed by what is there.
func renew(account *ban.Account, b ban.Ban) {
	if before, again := account.Get(b.Prefix); again {
		b = before.Renewed(b)
	}
	account.Put(b)
}

func (o *observer) Restore(bans ...ban.Ban) error {
	for _, b := range bans {
		o.bans.Put(b)
	}
	return nil
}

func (o *observer) Unban(prefixes ...netip.Prefix) (ended int, err error) {
	for _, prefix := range prefixes {
		if o.bans.Delete(prefix) {
			ended++
		}
	}
	return ended, nil
}

func (o *observer) Bans() ([]ban.Record, error) {
	records := make([]ban.Record, 0, o.bans.Len())
	for b := range o.bans.All {
		records = append(records, ban.Record{Ban: b})
	}
	return records, nil
}

func (o *observer) Lister() (lister, error) {
	records, err := o.Bans()
	return listOf(records), err
}

// listOf lists what has been read already.
func listOf(records []ban.Record) lister {
	return func(yield func(ban.Record) bool) error {
		for _, r := range records {
			if !yield(r) {
				break
			}
		}
		return nil
	}
}

func (o *observer) Sweep() (ended []ban.Record, missing []netip.Prefix, err error) {
	for _, prefix := range o.bans.Due(time.Now(), batch) {
		b, _ := o.bans.Get(prefix)
		ended = append(ended, ban.Record{Ban: b})
		o.bans.Delete(prefix)
	}
	return ended, nil, nil
}

func (o *observer) Batch() int { return batch }

func (o *observer) Due() bool { return len(o.bans.Due(time.Now(), 1)) > 0 }

func (o *observer) Rooms() []control.Room {
	return []control.Room{{Of: "bans", Used: o.bans.Len(), Max: 2 * int(o.room), Key: "maxbans"}}
}

func (o *observer) Allow(*ban.Set) error        { return nil }
func (o *observer) Totals() (ban.Totals, error) { return ban.Totals{}, nil }

// Mend has nothing to mend.
func (o *observer) Mend(bool) ([]string, error) { return nil, nil }

// Compare finds nothing else than what it was told.
func (o *observer) Compare(turn turn) (c comparison, err error) {
	return c, turn(func() error {
		c.wanted, c.enforced = o.bans.Len(), o.bans.Len()
		return nil
	})
}

// Test says that everything passes.
func (o *observer) Test(addr netip.Addr) ([]verdict, error) {
	v := verdict{mode: "observe", note: "enforce: observe drops nothing"}
	for bits := addr.BitLen(); bits >= 0; bits-- {
		b, there := o.bans.Get(netip.PrefixFrom(addr, bits).Masked())
		if there && b.Live(time.Now()) {
			v.by = ban.Record{Ban: b}
			break
		}
	}
	return []verdict{v}, nil
}

// Settle complains of what an earlier run left in force: nobody looks after it, and whoever
// only wants to look would not expect drops. Taking it out is for the operator to decide.
func (o *observer) Settle() error {
	var left []string
	if there, err := loader.Present(o.pin); err == nil && there {
		left = append(left, "the kernel program at "+o.pin)
	}
	if fallback.Present() {
		left = append(left, "the chain "+fallback.Name)
	}
	if len(left) == 0 {
		return nil
	}
	return fmt.Errorf("an earlier run left %s: packets are dropped although enforce: observe drops none; to end that, stop the daemon and run: xdpban detach", strings.Join(left, " and "))
}

func (o *observer) Notes() []string { return nil }
func (o *observer) Clock() string   { return "" }
func (o *observer) Close() error    { return nil }
