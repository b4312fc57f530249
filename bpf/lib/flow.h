/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_FLOW_H
#define ZOSNET_FLOW_H

#include "packet.h"

/* One flow, both directions: the ends are sorted, so either direction's packet
 * makes the same key. */
struct flow_key {
	struct address low;
	struct address high;
	__be16 low_port; /* ICMP query: its identifier in both */
	__be16 high_port;
	__u32 zone; /* network of link-local addresses, else 0 */
	__u32 proto;
	__u32 reserved;
};

enum flow_state {
	FLOW_OPENING,	  /* TCP: SYN seen; else: no reply yet */
	FLOW_ANSWERED,	  /* TCP: SYN-ACK seen; else: a reply seen */
	FLOW_ESTABLISHED, /* TCP: handshake done, or picked up; else: gone on after a reply */
	FLOW_CLOSING,	  /* TCP: one FIN seen */
	FLOW_CLOSED,	  /* TCP: RST, or both FINs */
};

/* Which part of a network's room a flow uses. Unanswered flows live apart, and
 * those that strangers start from those that the network starts itself. */
enum flow_share {
	SHARE_OPENING_IN,
	SHARE_OPENING_OUT,
	SHARE_TCP_IN,
	SHARE_TCP_OUT,
	SHARE_OTHER_IN,
	SHARE_OTHER_OUT,
	FLOW_SHARES,
};

#define FLOW_WAYS 4 /* flows in one set of a share */
#define FLOW_TABLE_SIZE (1 << 20)

enum hop_kind {
	HOP_NONE,
	HOP_PEER,    /* into the namespace behind a veth: bpf_redirect_peer */
	HOP_PORT,    /* out of a tap */
	HOP_UPLINK,  /* to a neighbour on an uplink */
	HOP_OVERLAY, /* to another node of the network */
};

#define HOP_CHECKED_SHIFT 20 /* next_hop.checked counts 2^20 ns, about a millisecond */

/* How packets reach one end of a flow. */
struct next_hop {
	__u32 checked; /* coarse monotonic, ns >> 20: when the kernel was last asked */
	__u32 ifindex;
	__u32 epoch;	 /* node.route_epoch when it was found */
	__u16 mtu;	 /* bytes, IP packet */
	__u8 kind;	 /* enum hop_kind */
	__u8 routed;	 /* the hop limit counts down, the source MAC is ours */
	struct mac dmac; /* a workload's: its own frames must be from there, too */
	struct mac smac;
};

/* One end of a flow, and what its packets must look like: 64 bytes. */
struct flow_end {
	__u32 ifindex;	     /* a workload's host-side interface, an overlay's; 0: an uplink */
	__u32 network;	     /* 0: outside */
	__u32 generation;    /* of that network when the flow was judged */
	__be32 acknowledged; /* TCP: the last number that it has acknowledged */
	__u64 packets;	     /* sent by this end */
	__u64 bytes;
	struct next_hop hop; /* towards this end */
	__u32 reserved;
};

/* The kernel keeps a flow with its key and 56 bytes of its own in one allocation. Up
 * to 152 bytes that is 256, in which each end has a cache line of its own; a byte
 * more would make it 512. */
struct flow {
	__u64 last_seen;  /* ns, coarse monotonic */
	__u8 share;	  /* enum flow_share */
	__u8 state;	  /* enum flow_state */
	__u8 started_low; /* the low end started it */
	__u8 denied;	  /* judged again and refused: stays until it is idle */
	__u32 sequence;	  /* TCP: what the answering end expects to be acknowledged */
	__u32 owner;	  /* network whose room it uses */
	__u32 set;	  /* of that share; see flow_set */
	struct flow_end low;
	struct flow_end high;
};

_Static_assert(sizeof(struct flow_end) == 64, "an end of a flow is a cache line");
_Static_assert(sizeof(struct flow) <= 152, "a flow leaves the allocation of 256 bytes");

/* A share is a ring of sets of four. A new flow takes a free or expired way of
 * the set that is next, else the one that has been idle the longest. */
struct flow_set_key {
	__u32 network;
	__u32 share; /* enum flow_share */
	__u32 set;
};

struct flow_set {
	struct flow_key ways[FLOW_WAYS];
};

/* Next set of each share of a network. */
struct flow_hands {
	__u32 next[FLOW_SHARES];
};

/* Ports that a fragmented packet's first fragment had; one entry a slot, so that
 * one network cannot push out another's. */
struct fragment_key {
	__u32 network; /* 0: host */
	__u32 slot;
};

struct fragment {
	struct address saddr;
	struct address daddr;
	__u64 seen; /* ns, coarse monotonic */
	__be32 id;
	__be16 sport;
	__be16 dport;
	__u32 proto;
	__u8 icmp_type;
	__u8 reserved;
	__u16 headers; /* bytes that no later fragment may begin before */
};

#define FRAGMENT_SLOTS 256

/* A flow that the host itself started. */
struct host_flow_key {
	struct address local;
	struct address remote;
	__be16 local_port;
	__be16 remote_port;
	__u32 proto;
};

struct host_flow {
	__u64 last_seen; /* ns, coarse monotonic */
	__u32 state;	 /* enum flow_state */
	__u32 replied;
};

#endif
