package fallback

import (
	"context"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// lookEvery is how often the tables are looked through though nothing seems to have changed.
const lookEvery = 30 * time.Second

// A watch knows whether the tables may have changed since they were looked at.
type watch struct {
	looked time.Time
	seen   legacyInfo
}

// due reports whether it is time to look.
func (w *watch) due(t *tables, now time.Time, thorough bool) bool {
	if thorough || now.Sub(w.looked) >= lookEvery {
		return true
	}
	return t.kind == Legacy && legacyTable(t) != w.seen
}

// legacyInfo is struct ipt_getinfo of linux/netfilter_ipv4/ip_tables.h: the size of a table
// of the legacy kind, which tells of no change by itself. To ask for it costs a microsecond.
type legacyInfo struct {
	name       [32]byte
	validHooks uint32
	hookEntry  [5]uint32
	underflow  [5]uint32
	entries    uint32
	size       uint32
}

const getInfo = 64 // IPT_SO_GET_INFO and IP6T_SO_GET_INFO

func legacyTable(t *tables) (info legacyInfo) {
	if t.kind != Legacy {
		return info
	}
	family, level := unix.AF_INET, unix.IPPROTO_IP
	if t.v6 {
		family, level = unix.AF_INET6, unix.IPPROTO_IPV6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return info
	}
	defer unix.Close(fd)
	copy(info.name[:], filterTable)
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), getInfo,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return legacyInfo{}
	}
	return info
}

// nftGroup is NFNLGRP_NFTABLES.
const nftGroup = 7

// Watch calls changed whenever tables of the nft kind change, those of others too, until ctx
// ends. It returns an error where the kernel gives no such news.
func Watch(ctx context.Context, changed func()) error {
	news, err := nl.Subscribe(unix.NETLINK_NETFILTER, nftGroup)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, news.Close)
	defer func() {
		if stop() {
			news.Close()
		}
	}()
	for {
		if _, _, err := news.Receive(); err != nil {
			return err
		}
		changed()
	}
}
