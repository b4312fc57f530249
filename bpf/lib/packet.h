/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_PACKET_H
#define ZOSNET_PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "drop.h"

#define INLINE static __always_inline

/* IPv6, or IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2), in network order. */
struct address {
	__u8 bytes[16];
} __attribute__((aligned(8)));

struct mac {
	__u8 bytes[6];
} __attribute__((aligned(2)));

/* How the headers are read: the kernel's own say less of how their addresses lie in
 * memory, and are then copied in small pieces, which are slow to read as a whole. */
struct ethernet_header {
	struct mac dmac;
	struct mac smac;
	__be16 ether_type;
};

struct ipv6_addresses {
	struct address saddr;
	struct address daddr;
};

enum icmpv6_type { /* RFC 4443, 4861, 2710, 3810 */
		   ICMPV6_UNREACHABLE = 1,
		   ICMPV6_PACKET_TOO_BIG = 2,
		   ICMPV6_TIME_EXCEEDED = 3,
		   ICMPV6_PARAMETER_PROBLEM = 4,
		   ICMPV6_ECHO_REQUEST = 128,
		   ICMPV6_ECHO_REPLY = 129,
		   ICMPV6_MLD_QUERY = 130,
		   ICMPV6_MLD_REPORT = 131,
		   ICMPV6_MLD_DONE = 132,
		   ICMPV6_ROUTER_SOLICIT = 133,
		   ICMPV6_ROUTER_ADVERT = 134,
		   ICMPV6_NEIGHBOR_SOLICIT = 135,
		   ICMPV6_NEIGHBOR_ADVERT = 136,
		   ICMPV6_REDIRECT = 137,
		   ICMPV6_NODE_INFO_REPLY = 140,
		   ICMPV6_MLD2_REPORT = 143,
};

enum icmp_type { /* RFC 792 */
		 ICMP4_ECHO_REPLY = 0,
		 ICMP4_UNREACHABLE = 3,
		 ICMP4_ECHO_REQUEST = 8,
		 ICMP4_TIME_EXCEEDED = 11,
		 ICMP4_PARAMETER_PROBLEM = 12,
		 ICMP4_TIMESTAMP = 13,
		 ICMP4_TIMESTAMP_REPLY = 14,
};

enum tcp_flag {
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_PSH = 0x08,
	TCP_ACK = 0x10,
	TCP_URG = 0x20,
};

enum fragment_kind {
	FRAGMENT_NONE,
	FRAGMENT_FIRST,
	FRAGMENT_LATER, /* has no transport header; ports come from its first */
};

/* What the programs need to know of a packet. Ports are in network order; an
 * ICMP query has its identifier in both, every other ICMP its type in dport. */
struct packet {
	struct address saddr;
	struct address daddr;
	__be16 sport;
	__be16 dport;
	__be32 fragment_id;
	__u16 l3_offset;
	__u16 l4_offset; /* where an ICMP error's inner packet is 8 further */
	__u16 l4_length; /* bytes of the transport header, options included */
	/* Later fragment: where it begins in what was cut; first: where what must be
	 * whole of that ends, the transport header's end. Bytes. */
	__u16 fragment_offset;
	__u16 vlan;	  /* id of the outermost tag; 0 says a priority only */
	__u16 vlan_type;  /* ether type of that tag, host order */
	__u16 ether_type; /* host order, after VLAN tags */
	__u16 length;	  /* IP packet, headers included */
	__be32 sequence;  /* TCP */
	__be32 acknowledged;
	__u8 proto;
	__u8 hop_limit;
	__u8 tcp_flags;
	__u8 icmp_type;
	__u8 icmp_code;
	__u8 fragment; /* enum fragment_kind */
	__u8 tags;     /* VLAN tags in the frame */
	bool icmp_error;
	struct mac smac;
	struct mac dmac;
};

INLINE bool address_equal(const struct address *x, const struct address *y)
{
	const __u64 *p = (const void *)x, *q = (const void *)y;

	return p[0] == q[0] && p[1] == q[1];
}

INLINE bool mac_equal(const struct mac *x, const struct mac *y)
{
	/* clang 14 makes a call of a memcmp whose operands are not aligned */
	const __u16 *a = (const void *)x, *b = (const void *)y;

	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]));
}

INLINE bool is_multicast(const struct address *a)
{
	return a->bytes[0] == 0xff;
}

INLINE bool is_link_local(const struct address *a)
{
	return a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
}

INLINE bool is_unspecified(const struct address *a)
{
	const __u64 *p = (const void *)a;

	return !p[0] && !p[1];
}

/* ::/32: unspecified, loopback, IPv4-mapped and -compatible addresses, which are on
 * no wire; 64:ff9b::/96 (RFC 6052) is. */
INLINE bool is_unroutable(const struct address *a)
{
	return !*(const __u32 *)a->bytes;
}

/* A source that no packet from outside can have. */
INLINE bool is_bogus_source(const struct address *a)
{
	return is_unroutable(a) || is_link_local(a) || is_multicast(a);
}

INLINE bool is_ipv4(const struct address *a)
{
	const __u32 *w = (const void *)a->bytes;

	return !w[0] && !w[1] && w[2] == bpf_htonl(0xffff);
}

INLINE void map_ipv4(struct address *a, __be32 v4)
{
	__u32 *w = (void *)a->bytes;

	w[0] = 0;
	w[1] = 0;
	w[2] = bpf_htonl(0xffff);
	w[3] = v4;
}

#endif
