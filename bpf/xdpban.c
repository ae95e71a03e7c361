// SPDX-License-Identifier: MIT OR GPL-2.0-only
/* Drops every packet whose source is banned, before the network stack sees it.
 *
 * parse() finds the source, find() its ban; then the allow list has its say, refresh() moves the
 * end of the ban and count() counts. Until packets may move it once more, again() drops what comes
 * from there without all that. Whatever is malformed or unknown passes: the stack knows better what
 * to do with it.
 */
#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "xdpban.h"

#define MAX_TAGS 2

/* Set once, when the program is loaded. */
const volatile enum clock clock_kind = CLOCK_KTIME;
const volatile __u64 ns_per_jiffy;
const volatile __u64 jiffies_offset;
const volatile __u8 ipv6_prefix; /* bits of an IPv6 address that are a key of bans and held */
const volatile struct address ipv6_mask; /* those */
const volatile __u8 sieve_shift = 58;    /* leaves of a hash the number of a bit of the sieve */
const volatile bool dry;                 /* says what it would do and writes nothing */

/* Named here so that Go learns them. */
const volatile __u32 layout = LAYOUT;
const volatile enum ban_flag beats_allow = BAN_FORCED | BAN_CLEAR;

/* Bans of one source that logs led to. User space inserts and deletes, find() reads, drop()
 * refreshes. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1); /* here and below: the loader sets it */
	__type(key, struct address);
	__type(value, struct ban);
} bans SEC(".maps");

/* Bans of one source made by hand, which nothing evicts, in memory that is taken when the map is
 * made: none of them fails for want of it, and many at once take half the time. Writers as for
 * bans.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct address);
	__type(value, struct ban);
} held SEC(".maps");

/* Of every key in bans and held a bit is set, found by its hash: whose bit is not has no ban there.
 * User space sets it before it inserts, find() reads. Each Loader makes its own.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} sieve SEC(".maps");

/* Bans of prefixes of any other length. Writers as for bans. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, struct ban);
} nets SEC(".maps");

/* Who is never dropped. User space writes. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, __u32);
} allow SEC(".maps");

/* What was dropped and let through, a CPU. drop(), again() and allowed() write. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counts);
} totals SEC(".maps");

/* Counts on their way to their bans, a CPU. count() and again() write, user space reads. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PENDING_SLOTS);
	__type(key, __u32);
	__type(value, struct slot);
} pending SEC(".maps");

/* Jails and reasons of bans, so that the next daemon knows them. User space writes and reads. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct label);
} labels SEC(".maps");

/* What the maps hold as a whole. User space writes, find() and again() read. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct contents);
} state SEC(".maps");

struct cursor {
	void *pos;
	void *end;
};

struct packet {
	struct address source;
	__u32 bytes;      /* of the frame, by what its headers say */
	__u32 generation; /* of contents, before its ban was looked up */
};

static __always_inline __u64 time_now(void)
{
	if (clock_kind == CLOCK_JIFFIES)
		return bpf_jiffies64() * ns_per_jiffy + jiffies_offset;
	if (clock_kind == CLOCK_COARSE)
		return bpf_ktime_get_coarse_ns();
	return bpf_ktime_get_ns();
}

/* Moves past the next header, of size bytes. False where the frame ends before it does. A pointer
 * that may be NULL would read better, but comparing that takes CAP_PERFMON.
 */
static __always_inline bool next(struct cursor *c, void **header, __u32 size)
{
	*header = c->pos;
	if (c->pos + size > c->end)
		return false;
	c->pos += size;
	return true;
}

/* Half an address out of two words, the first of which lies in front in memory. */
static __always_inline __be64 join(__be32 first, __be32 second)
{
	if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
		return (__u64)second << 32 | first;
	return (__u64)first << 32 | second;
}

static __always_inline __be32 first(__be64 half)
{
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? half : half >> 32;
}

static __always_inline __be32 second(__be64 half)
{
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? half >> 32 : half;
}

static __always_inline bool is_mapped(const struct address *a)
{
	return !a->half[0] && first(a->half[1]) == bpf_htonl(0xffff);
}

/* Of an IP header. The bitfields of linux/ip.h follow the machine that compiles, not the target. */
static __always_inline __u8 version(const void *ip)
{
	return *(const __u8 *)ip >> 4;
}

static __always_inline bool parse_ipv4(struct cursor *c, struct packet *p)
{
	struct iphdr *ip;

	if (!next(c, (void **)&ip, sizeof(*ip)) || version(ip) != 4)
		return false;
	p->source.half[0] = 0;
	p->source.half[1] = join(bpf_htonl(0xffff), ip->saddr);
	p->bytes += bpf_ntohs(ip->tot_len);
	return true;
}

static __always_inline bool parse_ipv6(struct cursor *c, struct packet *p)
{
	struct ipv6hdr *ip;
	const __be32 *word;

	if (!next(c, (void **)&ip, sizeof(*ip)) || version(ip) != 6)
		return false;
	word = ip->saddr.in6_u.u6_addr32;
	p->source.half[0] = join(word[0], word[1]);
	p->source.half[1] = join(word[2], word[3]);
	p->bytes += sizeof(*ip) + bpf_ntohs(ip->payload_len);
	return true;
}

/* The length comes from the headers because taking the frame's own needs CAP_PERFMON. The sender
 * can lie about it, in the statistics of its own ban and in nothing else.
 */
static __always_inline bool parse(struct cursor *c, struct packet *p)
{
	struct ethhdr *eth;
	__be16 proto;

	if (!next(c, (void **)&eth, sizeof(*eth)))
		return false;
	proto = eth->h_proto;
	p->bytes = sizeof(*eth);
	for (int i = 0; i < MAX_TAGS; i++) {
		__be16 *tag; /* its value, then the protocol of what follows */

		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		if (!next(c, (void **)&tag, 2 * sizeof(*tag)))
			return false;
		proto = tag[1];
		p->bytes += 2 * sizeof(*tag);
	}
	if (proto == bpf_htons(ETH_P_IP))
		return parse_ipv4(c, p);
	if (proto == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(c, p);
	return false;
}

/* The key of a's ban in bans and held: IPv4 as it is, of IPv6 the first ipv6_prefix bits. */
static __always_inline struct address mask(const struct address *a)
{
	struct address key = *a;

	if (is_mapped(a))
		return key;
	key.half[0] &= ipv6_mask.half[0];
	key.half[1] &= ipv6_mask.half[1];
	return key;
}

/* a alone, as a key of the tries. */
static __always_inline void single(struct prefix *key, const struct address *a)
{
	__builtin_memset(key, 0, sizeof(*key));
	if (is_mapped(a)) {
		key->bits = FAMILY_BITS + 32;
		key->family[0] = FAMILY_IPV4;
		__be32 ipv4 = second(a->half[1]);

		__builtin_memcpy(key->addr, &ipv4, sizeof(ipv4));
		return;
	}
	key->bits = FAMILY_BITS + 128;
	key->family[0] = FAMILY_IPV6;
	__builtin_memcpy(key->addr, a, sizeof(*a));
}

/* Reads the clock, which costs as much as anything here, only where there is a ban. */
static __always_inline bool is_live(const struct ban *b, __u64 *now)
{
	if (!b)
		return false;
	*now = time_now();
	return *now < b->end;
}

/* The live ban of the longest prefix that holds a. One that has ended hides none that has not. */
static __always_inline struct ban *find_net(const struct address *a, __u64 *now)
{
	struct prefix key;

	single(&key, a);
#pragma clang loop unroll(disable)
	for (int i = 0; i < PREFIX_LENGTHS; i++) {
		struct ban *b = bpf_map_lookup_elem(&nets, &key);

		if (!b || is_live(b, now))
			return b;
		if (!b->bits)
			return NULL;
		key.bits = FAMILY_BITS + b->bits - 1;
	}
	return NULL;
}

/* The hash of a key. That of user space is the same. The bits of least weight, in which sources
 * differ most, are spread over all; those of most weight are used.
 */
static __always_inline __u64 hash(const struct address *key)
{
	const __u64 golden = 0x9e3779b97f4a7c15; /* 2^64 by the golden ratio */

	return bpf_be64_to_cpu(key->half[0] ^ key->half[1]) * golden;
}

/* Whether neither bans nor held has the key, for certain. */
static __always_inline bool passes_sieve(const struct address *key)
{
	__u64 bit = hash(key) >> sieve_shift;
	__u32 word = bit / 64;
	const __u64 *bits = bpf_map_lookup_elem(&sieve, &word);

	return bits && !(*bits >> bit % 64 & 1);
}

/* The live ban of a key in bans or held. */
static __always_inline struct ban *find_single(const struct contents *s, const struct address *key,
                                               __u64 *now)
{
	struct ban *b;

	if (passes_sieve(key))
		return NULL;
	b = bpf_map_lookup_elem(&bans, key);
	if (is_live(b, now))
		return b;
	if (!s->held)
		return NULL;
	b = bpf_map_lookup_elem(&held, key);
	if (is_live(b, now))
		return b;
	return NULL;
}

/* The ban that a packet from a meets, if there is one, and the time at which it is live. */
static __always_inline struct ban *find(const struct contents *s, const struct address *a,
                                        const struct address *key, __u64 *now)
{
	struct ban *b = find_single(s, key, now);

	if (!b && s->nets)
		return find_net(a, now);
	return b;
}

static __always_inline bool is_allowed(const struct address *a)
{
	struct prefix key;

	single(&key, a);
	return bpf_map_lookup_elem(&allow, &key);
}

/* A second is added because no packet of the coming one moves the end again: nobody is let in
 * before it has been quiet for as long as it must.
 */
static __always_inline void refresh(struct ban *b, __u64 now)
{
	__u64 end;

	if (b->seen && (__s64)(now - b->seen) < (__s64)REFRESH_EVERY)
		return;
	b->seen = now;
	if (!b->quiet)
		return;
	end = now + b->quiet * SECOND + REFRESH_EVERY;
	if (end > b->limit)
		end = b->limit;
	if (end <= b->end)
		return;
	b->end = end;
	b->refreshed++;
}

static __always_inline void add(struct ban *b, __u64 packets, __u64 bytes)
{
	__sync_fetch_and_add(&b->packets, packets);
	__sync_fetch_and_add(&b->bytes, bytes);
}

/* The ban that slot counts for, if it is still there: it may have ended, or come after another of
 * its source by now.
 */
static __always_inline struct ban *owner(const struct slot *slot)
{
	struct address source = mask(&slot->source);
	struct prefix key;
	struct ban *b;

	b = bpf_map_lookup_elem(&bans, &source);
	if (b && b->id == slot->id)
		return b;
	b = bpf_map_lookup_elem(&held, &source);
	if (b && b->id == slot->id)
		return b;
	single(&key, &slot->source);
#pragma clang loop unroll(disable)
	for (int i = 0; i < PREFIX_LENGTHS; i++) {
		b = bpf_map_lookup_elem(&nets, &key);
		if (!b || b->id == slot->id)
			return b;
		if (!b->bits)
			return NULL;
		key.bits = FAMILY_BITS + b->bits - 1;
	}
	return NULL;
}

/* Hands what a CPU still holds for another ban over to that one. */
static __always_inline void settle(const struct slot *slot)
{
	struct ban *b;

	if (!slot->packets)
		return;
	b = owner(slot);
	if (b)
		add(b, slot->packets, slot->bytes);
}

static __always_inline struct slot *slot_of(const struct address *key)
{
	__u32 slot = hash(key) >> (64 - PENDING_BITS);

	return bpf_map_lookup_elem(&pending, &slot);
}

/* Whether slot says that what comes from key is dropped as before. */
static __always_inline bool is_known(const struct slot *slot, const struct address *key,
                                     __u32 generation)
{
	return slot->source.half[0] == key->half[0] && slot->source.half[1] == key->half[1] &&
	       slot->generation == generation && time_now() < slot->until;
}

/* Has this CPU drop what comes from key without a look until packets may move the end of b again.
 * It looks each time where part of key may be allowed, or in another ban than the rest.
 */
static __always_inline void know(struct slot *slot, const struct ban *b, const struct packet *p,
                                 const struct address *key)
{
	bool whole = is_mapped(&p->source) || b->bits == ipv6_prefix;

	slot->source = whole ? *key : p->source;
	slot->generation = whole && b->flags & beats_allow ? p->generation : 0;
	slot->until = b->seen + REFRESH_EVERY;
	if (slot->until > b->end)
		slot->until = b->end;
}

/* One ban a slot: the CPU counts for it alone and hands over once a second. A second ban on the
 * same slot is counted in its shared value, which costs more when several CPUs drop for it.
 */
static __always_inline void count(struct slot *slot, struct ban *b, const struct packet *p,
                                  const struct address *key, __u64 now)
{
	bool due = now >= slot->until;

	if (slot->id != b->id && !due) {
		add(b, 1, p->bytes);
		return;
	}
	if (slot->id != b->id) {
		settle(slot);
		slot->id = b->id;
		slot->packets = 0;
		slot->bytes = 0;
	}
	slot->packets++;
	slot->bytes += p->bytes;
	know(slot, b, p, key);
	if (!due)
		return;
	add(b, slot->packets, slot->bytes);
	slot->packets = 0;
	slot->bytes = 0;
}

static __always_inline int allowed(const struct packet *p)
{
	__u32 zero = 0;
	struct counts *t = bpf_map_lookup_elem(&totals, &zero);

	if (t && !dry) {
		t->allowed.packets++;
		t->allowed.bytes += p->bytes;
	}
	return XDP_PASS;
}

static __always_inline void total(const struct packet *p)
{
	__u32 zero = 0;
	struct counts *t = bpf_map_lookup_elem(&totals, &zero);

	if (t) {
		t->dropped.packets++;
		t->dropped.bytes += p->bytes;
	}
}

/* Counts a packet that is dropped as those before it. */
static __always_inline int again(struct slot *slot, const struct packet *p)
{
	slot->packets++;
	slot->bytes += p->bytes;
	total(p);
	return XDP_DROP;
}

static __always_inline int drop(struct slot *slot, struct ban *b, const struct packet *p,
                                const struct address *key, __u64 now)
{
	if (dry)
		return XDP_DROP;
	total(p);
	refresh(b, now);
	count(slot, b, p, key, now);
	return XDP_DROP;
}

SEC("xdp")
int xdpban(struct xdp_md *ctx)
{
	struct cursor c = {(void *)(long)ctx->data, (void *)(long)ctx->data_end};
	struct address key; /* of its ban in bans and held */
	struct contents *s;
	struct packet p;
	struct slot *slot;
	struct ban *b;
	__u32 zero = 0;
	__u64 now;

	if (!parse(&c, &p))
		return XDP_PASS;
	key = mask(&p.source);
	s = bpf_map_lookup_elem(&state, &zero);
	slot = slot_of(&key);
	if (!s || !slot)
		return XDP_PASS;
	p.generation = s->generation;
	if (!dry && is_known(slot, &key, p.generation))
		return again(slot, &p);
	b = find(s, &p.source, &key, &now);
	if (!b)
		return XDP_PASS;
	if (!(b->flags & beats_allow) && is_allowed(&p.source))
		return allowed(&p);
	return drop(slot, b, &p, &key, now);
}

char _license[] SEC("license") = "Dual MIT/GPL";
