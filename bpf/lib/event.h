/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_EVENT_H
#define ZOSNET_EVENT_H

#include "packet.h"

enum event_kind {
	EVENT_DROP = 1,
	EVENT_LOG,   /* a rule with log: true decided */
	EVENT_LEARN, /* a VM's address was bound */
};

enum hook {
	HOOK_UPLINK_XDP = 1,
	HOOK_UPLINK_INGRESS,
	HOOK_UPLINK_EGRESS,
	HOOK_WORKLOAD_EGRESS,
	HOOK_WORKLOAD_INGRESS,
	HOOK_OVERLAY_INGRESS,
	HOOK_OVERLAY_EGRESS,
};

#define EVENT_BYTES 128

struct event {
	__u64 time; /* ns, CLOCK_BOOTTIME */
	struct address saddr;
	struct address daddr;
	__u32 kind;   /* enum event_kind */
	__u32 reason; /* enum drop_reason */
	__u32 hook;   /* enum hook */
	__u32 ifindex;
	__u32 network;
	__u32 entry;	/* EVENT_LOG, policy drops: which entry decided; else ~0 */
	__u32 judge;	/* network of that entry */
	__u32 workload; /* EVENT_LEARN */
	__u32 length;	/* bytes on the wire */
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 icmp_type;
	__u8 allowed;
	__u8 captured; /* bytes of the frame in head */
	struct mac mac;
	__u16 ether_type;
	__u32 link_header; /* bytes of it in head: 14 of Ethernet, or 0 */
	__u8 head[EVENT_BYTES];
};

struct drop_key {
	__u32 network;
	__u32 reason; /* enum drop_reason */
};

struct counter {
	__u64 packets;
	__u64 bytes;
};

/* A network's packets: what its workloads sent, and what reached them. */
struct traffic {
	struct counter egress;
	struct counter ingress;
};

#endif
