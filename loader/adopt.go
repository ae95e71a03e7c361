package loader

import (
	"fmt"
	"maps"
	"slices"

	"xdpban/internal/ban"
)

// adoptBans learns what the maps hold.
func (l *Loader) adoptBans() error {
	if err := l.maps.State.Lookup(uint32(0), &l.stated); err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	l.contents = l.stated
	var err error
	if l.labels, err = readLabels(l.maps.Labels); err != nil {
		return err
	}
	now, err := l.clock.now()
	if err != nil {
		return err
	}
	l.contents.Held, l.contents.Nets = 0, 0
	a := adoption{now: now, used: make(map[uint32]bool), foreign: make(map[ban.Source]staged)}
	err = (&reader{maps: &l.maps, now: now}).each(func(list []found) error {
		for i := range list {
			l.adoptOne(&a, &list[i])
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := l.labels.keepOnly(a.used); err != nil {
		return err
	}
	if _, err := l.deleteFrom(inBans, a.doubled); err != nil {
		return fmt.Errorf("delete bans that are held by hand: %w", err)
	}
	foreign := slices.Collect(maps.Values(a.foreign))
	for i := range foreign {
		foreign[i].spot = l.account.Find(foreign[i].ban.Prefix)
	}
	if err := l.write(foreign); err != nil {
		return fmt.Errorf("keep bans made under another ipv6_prefix: %w", err)
	}
	return l.sift()
}

// An adoption is what was found among the bans of an earlier Loader.
type adoption struct {
	now     moment
	used    map[uint32]bool       // labels
	foreign map[ban.Source]staged // bans that belong elsewhere under this ipv6_prefix
	doubled []place               // bans that a Loader moved when it died
}

func (l *Loader) adoptOne(a *adoption, f *found) {
	a.used[f.value.Label] = true
	l.contents.NextId = max(l.contents.NextId, f.value.Id+1)
	l.contents.add(f.table, 1)
	r := decode(f.Prefix(), &f.value, a.now, l.labels.names[f.value.Label])
	twice := l.account.Has(r.Prefix)
	switch home := l.home(f); {
	case home.table != f.table && !twice:
		a.foreign[home.Source] = staged{place: home, value: f.value, ban: &r.Ban, fresh: true}
		return
	case home.table != f.table:
		return
	case f.table == inHeld && twice:
		a.doubled = append(a.doubled, placeIn(inBans, r.Prefix))
	}
	l.account.Put(r.Ban)
	l.account.Note(r, 0)
}

// home is where f belongs. With another ipv6_prefix that may be elsewhere: a single source
// has become a prefix, or the other way round.
func (l *Loader) home(f *found) place { return l.placeFor(f.Prefix(), f.value.Flags&flagHand != 0) }

// dropForeign deletes bans from where no program looks for them any more.
func (l *Loader) dropForeign() error {
	var foreign []place
	err := (&reader{maps: &l.maps}).each(func(list []found) error {
		for i := range list {
			if l.home(&list[i]).table != list[i].table {
				foreign = append(foreign, list[i].place)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = l.deletePlaces(foreign)
	return err
}
