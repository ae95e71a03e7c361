package loader

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"xdpban/internal/ban"
)

// eachAllowed calls yield with every prefix on the kernel's allow list.
func (l *Loader) eachAllowed(yield func(netip.Prefix)) error {
	return each(l.maps.Allow, func(keys []xdpbanPrefix, _ []uint32) error {
		for i := range keys {
			yield(prefixOf(keys[i]))
		}
		return nil
	})
}

// adoptAllowed learns the allow list.
func (l *Loader) adoptAllowed() error {
	l.allowed = new(ban.Set)
	return l.eachAllowed(func(prefix netip.Prefix) { l.allowed.Add(prefix, "") })
}

// Allow makes the kernel's allow list equal to set. What is on both lists, or inside
// prefixes of both, is allowed all the while.
func (l *Loader) Allow(set *ban.Set) error {
	if err := l.allow(set); err != nil {
		return explain(fmt.Errorf("set the allow list: %w", err))
	}
	return nil
}

func (l *Loader) allow(set *ban.Set) error {
	if set.Len() > int(l.settings.MaxAllowed) {
		return fmt.Errorf("%d prefixes: the kernel's list holds %d", set.Len(), l.settings.MaxAllowed)
	}
	wanted, added := new(ban.Set), new(ban.Set)
	before := make(map[netip.Prefix]bool)
	if err := l.eachAllowed(func(prefix netip.Prefix) { before[prefix] = true }); err != nil {
		return err
	}
	for prefix := range set.All {
		prefix = normal(prefix)
		wanted.Add(prefix, "")
		if !before[prefix] {
			added.Add(prefix, "")
		}
		delete(before, prefix)
	}
	if err := l.heed(added); err != nil {
		return err
	}
	for prefix := range added.All {
		l.allowed.Add(prefix, "")
		if err := l.maps.Allow.Put(trieKey(prefix), uint32(1)); err != nil {
			return fmt.Errorf("add %s: %w", prefix, err)
		}
	}
	for prefix := range before {
		if err := l.maps.Allow.Delete(trieKey(prefix)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("remove %s: %w", prefix, err)
		}
	}
	l.allowed = wanted
	return l.lookAgain()
}

// heed makes the program look at the allow list for bans that meet added. It looks at no
// others, which is a fifth of what a drop costs. Heeding comes before the list changes:
// whoever dies in between leaves bans that are slower, not bans of the allowed.
func (l *Loader) heed(added *ban.Set) error {
	for _, b := range l.account.Meeting(added) {
		p := l.placeOf(&b)
		v, ok, err := l.lookup(p)
		if err != nil {
			return err
		}
		if !ok || v.Flags&flagClear == 0 {
			continue
		}
		v.Flags &^= flagClear
		if err := l.putOne(p, &v); err != nil {
			return fmt.Errorf("write ban of %s: %w", b.Prefix, err)
		}
	}
	return nil
}
