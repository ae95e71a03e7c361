package daemon

import (
	"context"
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

// watchFilter says on changed whenever rules of nf_tables change, until ctx ends. The other
// kind of packet filter tells nothing: who wants to know has to look.
func watchFilter(ctx context.Context, changed chan<- struct{}) {
	for ctx.Err() == nil {
		fallback.Watch(ctx, func() { tell(changed) }) //nolint:errcheck // it is asked again; meanwhile looking has to do
		tell(changed)
		select {
		case <-ctx.Done():
		case <-time.After(resubscribe):
		}
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
