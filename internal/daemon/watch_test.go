package daemon

import (
	"context"
	"testing"
	"time"

	"xdpban/internal/lab"
)

func TestHostIsWatched(t *testing.T) {
	t.Parallel() // most of it is waiting
	hosts := lab.Hosts(t, 2)
	ctx, stop := context.WithCancel(t.Context())
	changed := make(chan struct{}, 1)
	gone := make(chan error)
	go func() {
		gone <- hosts[0].Do(func() error {
			watchHost(ctx, changed)
			return nil
		})
	}()
	news := func(what string) {
		t.Helper()
		select {
		case <-changed:
		case <-time.After(patience):
			t.Fatalf("no news of %s", what)
		}
	}
	news("the beginning")
	const soon = 50 * time.Millisecond
	untilQuiet(changed, soon)
	for _, change := range []struct {
		what string
		do   func() error
		echo time.Duration // how long the kernel may take until it says the rest
	}{
		{"an interface", func() error { return lab.Connect(hosts[0], "eth0", hosts[1], "eth0") }, 2500 * time.Millisecond},
		{"an address", func() error { return hosts[0].Address("eth0", "192.0.2.1/24") }, soon},
		{"an IPv6 address", func() error { return hosts[0].Address("eth0", "2001:db8::1/64") }, soon},
		{"a default route", func() error { return hosts[0].Gateway("192.0.2.254") }, soon},
		{"an IPv6 default route", func() error { return hosts[0].Gateway("2001:db8::fe") }, soon},
	} {
		must(t, change.do())
		news(change.what)
		untilQuiet(changed, change.echo)
	}
	stop()
	select {
	case err := <-gone:
		must(t, err)
	case <-time.After(patience):
		t.Fatal("it goes on after its context has ended")
	}
}

// untilQuiet takes the news that still come of what was done before, until none has come
// for that long.
func untilQuiet(changed <-chan struct{}, quiet time.Duration) {
	for {
		select {
		case <-changed:
		case <-time.After(quiet):
			return
		}
	}
}
