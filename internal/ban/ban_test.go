package ban_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"xdpban/internal/ban"
)

var noon = time.Date(2026, 11, 9, 12, 0, 0, 0, time.UTC)

func TestAPacketMovesTheEnd(t *testing.T) {
	live := ban.Ban{End: noon.Add(time.Minute), Quiet: time.Hour}
	tests := map[string]struct {
		ban  ban.Ban
		want time.Time
	}{
		"to an hour from then":     {live, noon.Add(time.Hour)},
		"not back":                 {ban.Ban{End: noon.Add(12 * time.Hour), Quiet: time.Hour}, noon.Add(12 * time.Hour)},
		"not past the limit":       {ban.Ban{End: noon.Add(time.Minute), Quiet: time.Hour, Limit: noon.Add(2 * time.Minute)}, noon.Add(2 * time.Minute)},
		"not without a quiet time": {ban.Ban{End: noon.Add(time.Minute)}, noon.Add(time.Minute)},
		"not once it has ended":    {ban.Ban{End: noon, Quiet: time.Hour}, noon},
	}
	for name, test := range tests {
		want := test.ban
		want.End = test.want
		if got := test.ban.Refreshed(noon); got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

func TestARefreshNeverShortensAndNeverPassesTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := anyBan(t, "ban")
		now := noon.Add(anyDuration(t, "now"))
		after := before.Refreshed(now)
		if after.End.Before(before.End) {
			t.Fatalf("%v became %v", before.End, after.End)
		}
		if !before.Limit.IsZero() && after.End.After(before.Limit) && !after.End.Equal(before.End) {
			t.Fatalf("%v passes the limit %v", after.End, before.Limit)
		}
		if !before.Live(now) && after != before {
			t.Fatalf("a ban that has ended changed: %+v became %+v", before, after)
		}
	})
}

func TestARenewalTakesWhateverLastsLonger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		old, next := anyBan(t, "old"), anyBan(t, "next")
		got := old.Renewed(next)
		if got.End.Before(old.End) || got.End.Before(next.End) || got.Quiet < old.Quiet || got.Quiet < next.Quiet {
			t.Fatalf("%+v renewed by %+v is %+v", old, next, got)
		}
		for _, b := range []ban.Ban{old, next} {
			if b.Limit.IsZero() != got.Limit.IsZero() && !got.Limit.IsZero() || got.Limit.Before(b.Limit) && !got.Limit.IsZero() {
				t.Fatalf("%+v renewed by %+v is %+v", old, next, got)
			}
		}
		if got.Since != old.Since {
			t.Fatalf("the beginning %v became %v", old.Since, got.Since)
		}
	})
}

func anyBan(t *rapid.T, label string) ban.Ban {
	b := ban.Ban{
		Since: noon.Add(anyDuration(t, label+" since")),
		End:   noon.Add(anyDuration(t, label+" end")),
		Quiet: time.Duration(rapid.Int64Range(0, int64(24*time.Hour)).Draw(t, label+" quiet")),
	}
	if rapid.Bool().Draw(t, label+" limited") {
		b.Limit = noon.Add(anyDuration(t, label+" limit"))
	}
	return b
}

func anyDuration(t *rapid.T, label string) time.Duration {
	return time.Duration(rapid.Int64Range(-int64(48*time.Hour), int64(48*time.Hour)).Draw(t, label))
}
