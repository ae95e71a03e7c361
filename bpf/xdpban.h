/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/* What the kernel program and the loader share. bpf2go turns these structs into Go types.
 *
 * Changing the layout of a map means a new LAYOUT: pinned maps outlive the daemon that made them.
 * Times are nanoseconds of the kernel's CLOCK_MONOTONIC unless they say seconds.
 */
#ifndef XDPBAN_H
#define XDPBAN_H

#include <linux/types.h>

#define LAYOUT 1

#define SECOND 1000000000ULL

/* The end of a ban is moved at most this often, so that a flood leaves the shared value alone. */
#define REFRESH_EVERY SECOND

/* Sources whose packets a CPU drops and counts by itself at one time. */
#define PENDING_BITS  11
#define PENDING_SLOTS (1 << PENDING_BITS)

/* No more than one prefix of each length covers an address, so that many may have ended. */
#define PREFIX_LENGTHS 129

/* Where `now` comes from: the cheapest clock that the kernel has, see loader/clock.go. */
enum clock {
	CLOCK_KTIME,
	CLOCK_COARSE,
	CLOCK_JIFFIES,
};

/* ban.flags */
enum ban_flag {
	BAN_FORCED = 1, /* drops even what the allow list holds */
	BAN_HAND = 2,   /* an operator's; user space alone asks */
	BAN_CLEAR = 4,  /* nothing on the allow list lies in it or around it: no need to look */
};

/* An IPv6 address, or an IPv4 one mapped into it; network order. In halves, as the kernel compares
 * keys: a CPU waits where it reads at once what was written in two.
 */
struct address {
	__be64 half[2];
};

/* Key of the tries. The family keeps ::/0 from covering every IPv4 address. */
struct prefix {
	__u32 bits; /* of what follows: FAMILY_BITS + the length of the prefix */
	__u8 family[4];
	__u8 addr[16]; /* IPv4: the first four bytes */
};

#define FAMILY_BITS 32
#define FAMILY_IPV4 4
#define FAMILY_IPV6 6

/* A ban as it is enforced. One cache line, which is one of its own in a hash map with a 16-byte
 * key. User space inserts and deletes; the kernel program alone moves end, seen and the counts.
 */
struct ban {
	__u64 end;     /* packets pass from then on */
	__u64 limit;   /* no packet moves end past it; ~0: no limit */
	__u64 seen;    /* when a packet last moved end or could have; 0: none came */
	__u64 packets; /* dropped, without what is still in pending */
	__u64 bytes;
	__s32 since;     /* seconds; below 0: before the kernel booted */
	__u32 quiet;     /* seconds; a packet moves end to so much after it; 0: none does */
	__u32 refreshed; /* times that end moved */
	__u32 id;        /* names this ban in pending; never reused, never 0 */
	__u32 label;     /* key of labels: the jail and the reason */
	__u8 bits;       /* length of the prefix, in its own family */
	__u8 flags;
	__u16 unused;
};

/* What one CPU dropped and has not added to the ban yet; until then it drops what comes from
 * source without a look at anything else, if nothing has changed.
 */
struct slot {
	__u64 until; /* from then on counts are due, and packets may move the end of the ban */
	__u64 packets;
	__u64 bytes;
	struct address source; /* leads back to the ban */
	__u32 id;
	__u32 generation; /* of contents, when the ban was looked up; 0: look each time */
};

/* Why a ban was made, in words. The kernel program never reads it. */
struct label {
	__u8 jail[64];    /* ends with zeros */
	__u8 reason[192]; /* the same */
};

struct count {
	__u64 packets;
	__u64 bytes;
};

struct counts {
	struct count dropped;
	struct count allowed; /* banned, but on the allow list */
};

/* What the maps hold as a whole. User space raises held and nets before it inserts and lowers
 * them after it deletes, so that a zero always means empty.
 */
struct contents {
	__u32 held;
	__u32 nets;
	__u32 next_id;
	__u32 generation; /* changes where who was dropped may pass from now on; never 0 */
};

_Static_assert(sizeof(struct address) == 16, "address is a key");
_Static_assert(sizeof(struct prefix) == 24, "prefix is a key");
_Static_assert(sizeof(struct ban) == 64, "ban is one cache line");
_Static_assert(sizeof(struct slot) == 48, "slot is a value");
_Static_assert(sizeof(struct label) == 256, "label is a value");
_Static_assert(sizeof(struct counts) == 32, "counts is a value");
_Static_assert(sizeof(struct contents) == 16, "contents is a value");

#endif
