/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_POLICY_H
#define ZOSNET_POLICY_H

#include "identity.h"

/* A network's entries (rules, then access, then expose, then the three defaults)
 * are numbered from 0; each has a bit. Which entries match a packet's side, its
 * address or its port is precomputed as one bit vector each, and the first bit
 * that all of them have decides. */
#define POLICY_ENTRIES 4096
#define POLICY_WORDS (POLICY_ENTRIES / 64)

enum policy_dimension {
	POLICY_FROM_SERVICE = 1, /* class: service id; 0: outside */
	POLICY_TO_SERVICE,
	POLICY_FROM_CIDR, /* class: from policy_cidrs; absent: no entry names the address */
	POLICY_TO_CIDR,
	POLICY_PORT,  /* class: from policy_ports */
	POLICY_ALLOW, /* class 0: the entries that allow */
	POLICY_LOG,   /* class 0: the entries that want a log line */
};

struct policy_key {
	__u32 network;
	__u32 policy;	 /* network.policy */
	__u32 dimension; /* enum policy_dimension */
	__u32 class;
};

struct policy_vector {
	__u64 summary; /* bit w: words[w] is not 0 */
	__u64 words[POLICY_WORDS];
};

/* Longest match from an address to its class. */
struct policy_cidr_key {
	__u32 prefixlen; /* 64 for the network and policy, then the CIDR's */
	__be32 network;
	__be32 policy;
	struct {
		__u8 bytes[16];
	} address;
};

/* Longest match from a protocol and port (ICMPv6: type) to its class. A policy
 * has always one entry of prefixlen 64, for every protocol. */
struct policy_port_key {
	__u32 prefixlen; /* 64, 80 with the protocol, up to 96 with the port */
	__be32 network;
	__be32 policy;
	__be16 proto;
	__be16 port;
};

struct rule_key {
	__u32 network;
	__u32 entry;
};

struct rule_count {
	__u64 flows; /* flows that this entry decided, judged again or for the first time */
};

enum policy_side {
	SIDE_INSIDE,   /* workload to workload of one network */
	SIDE_OUTBOUND, /* judged by the network it leaves */
	SIDE_INBOUND,  /* judged by the network it enters */
};

struct verdict {
	__u32 network; /* whose entry decided */
	__u32 entry;
	__u32 reason; /* enum drop_reason, if it is not allowed */
	__u32 allow;
	__u32 log;
};

#endif
