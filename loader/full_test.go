package loader

import (
	"net/netip"
	"testing"

	"xdpban/internal/ban"
)

// Where one map has no room nothing is written, and nothing is missed later.
func TestBansBeyondTheRoomAreNotBegun(t *testing.T) {
	l := open(t)
	var bans []ban.Ban
	next := netip.MustParseAddr("198.51.0.0")
	for range l.settings.MaxPrefixes + 1 {
		bans = append(bans, hour(netip.PrefixFrom(next, 31).String()))
		next = next.Next().Next()
	}
	for range 3 {
		if err := l.Ban(append(bans, hour("192.0.2.7/32"))...); err == nil {
			t.Fatal("more than there is room for was taken")
		}
	}
	if records, err := l.Bans(); len(records) != 0 || err != nil || l.account.Len() != 0 {
		t.Errorf("left behind: %v, %v, %v", records, l.account.Len(), err)
	}
	must(t, l.Ban(bans[1:]...))
	if err := l.Ban(bans[0]); err == nil {
		t.Error("one too many was taken")
	}
	n, err := l.Unban(bans[1].Prefix)
	if n != 1 || err != nil {
		t.Errorf("unban: %d, %v", n, err)
	}
	must(t, l.Ban(bans[0]))
}
