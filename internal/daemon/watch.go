package daemon

import (
	"context"
	"sync"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"xdpban/fallback"
)

// resubscribe is how long to wait before asking again for news that the kernel broke off.
const resubscribe = time.Second

// watchHost says on changed whenever interfaces, addresses or routes of this host change,
// until ctx ends. What changed is for the reader to find out: news may be lost, the state
// of the host is not.
func watchHost(ctx context.Context, changed chan<- struct{}) {
	for ctx.Err() == nil {
		listen(ctx, changed)
		tell(changed) // something may have happened while nobody listened
		select {
		case <-ctx.Done():
		case <-time.After(resubscribe):
		}
	}
}

// A firewall that is loaded changes the rules in many steps, and tools that meet a change of
// others between reading and writing begin again, or fail. So the rules are let settle: until
// nothing has changed for settleQuiet, but for no longer than settleLatest.
const (
	settleQuiet  = 100 * time.Millisecond
	settleLatest = time.Second
)

// watchFilter says on changed when rules of nf_tables have changed, until ctx ends. The other
// kind of packet filter tells nothing: who wants to know has to look.
func watchFilter(ctx context.Context, changed chan<- struct{}) {
	news := make(chan struct{}, 1)
	var settling sync.WaitGroup
	settling.Go(func() { settle(ctx, news, changed) })
	defer settling.Wait()
	for ctx.Err() == nil {
		fallback.Watch(ctx, func() { tell(news) }) //nolint:errcheck // it is asked again; meanwhile looking has to do
		tell(news)
		select {
		case <-ctx.Done():
		case <-time.After(resubscribe):
		}
	}
}

// settle passes news on once there has been none for a while, until ctx ends.
func settle(ctx context.Context, news <-chan struct{}, changed chan<- struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-news:
		}
		latest, cancel := context.WithTimeout(ctx, settleLatest)
		for quiet := false; !quiet; {
			select {
			case <-news:
			case <-time.After(settleQuiet):
				quiet = true
			case <-latest.Done():
				quiet = true
			}
		}
		cancel()
		tell(changed)
	}
}

// listen tells of news until ctx ends or the kernel breaks off, as it does when its buffer
// overflows.
func listen(ctx context.Context, changed chan<- struct{}) {
	news, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return
	}
	stop := context.AfterFunc(ctx, news.Close)
	defer func() {
		if stop() {
			news.Close()
		}
	}()
	tell(changed)
	for {
		if _, _, err := news.Receive(); err != nil {
			return
		}
		tell(changed)
	}
}

// tell leaves a message unless one is waiting already.
func tell(changed chan<- struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}
