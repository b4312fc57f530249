/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_IDENTITY_H
#define ZOSNET_IDENTITY_H

#include "packet.h"

#define MAX_NETWORKS 4096 /* network 0 is outside and the host */
#define MAX_BINDINGS 131072
#define MAX_PORTS 16384
#define MAX_PREFIXES 65536
#define OUTSIDE 0

enum network_flag {
	NETWORK_HAS_CIDRS = 1, /* its rules name addresses */
	NETWORK_HAS_LOGS = 2,  /* its rules ask for log lines */
};

struct network {
	struct address gateway; /* PREFIX::1 */
	__u32 generation;	/* flows judged under another are judged again */
	__u32 policy;		/* version of its entries in the policy maps; 0: none, deny */
	__u32 flags;		/* enum network_flag */
	__u32 bridge;		/* ifindex */
	__u32 flow_sets;	/* sets in each of its flow shares */
	struct mac gateway_mac;
	__u16 mtu; /* bytes */
};

enum port_kind {
	PORT_VETH = 1,
	PORT_TAP = 2,
	PORT_OVERLAY = 3, /* in a binding: on another node, behind this interface */
};

/* A workload's host-side interface, by ifindex. */
struct port {
	__u32 network;
	__u32 service;
	__u32 workload;
	__u32 kind;	 /* enum port_kind */
	__u32 learned;	 /* addresses learned so far */
	__u32 learnable; /* how many it may claim by DAD; 0 for a namespace */
	struct mac mac;
	__u16 reserved;
};

/* The interface to a network's other nodes, by ifindex, or to its access devices.
 * While keys are changed a network has two to its nodes. */
struct overlay {
	__u32 network;
	__u32 relay;	/* 1: its nodes may reach each other through this one */
	__u32 entrance; /* 1: to access devices, whose gateway this node is */
};

struct binding_key {
	struct address address;
	__u32 zone; /* the network of a link-local address, else 0 */
	__u32 reserved;
};

/* Who has an address. */
struct binding {
	__u32 network;
	__u32 service;
	__u32 workload;
	__u32 ifindex;
	__u32 kind;    /* enum port_kind */
	__u32 learned; /* 1: from DAD, 0: from the plan */
	struct mac mac;
	__u16 reserved;
};

enum prefix_kind {
	PREFIX_TENANT = 1, /* this node's tenant space */
	PREFIX_NODE = 2,   /* the first /64 of a block, the node's own */
};

struct prefix_key {
	__u32 prefixlen;
	struct {
		__u8 bytes[16];
	} address;
};

/* A side of a flow, as rules see it. */
struct endpoint {
	struct address address;
	__u32 network; /* OUTSIDE: everybody else */
	__u32 service;
	__u32 ifindex; /* 0: through an uplink */
	__u32 kind;    /* enum port_kind */
	struct mac mac;
	__u32 generation; /* of the network, before anything was read of who it is */
};

INLINE __u32 zone_of(const struct address *a, const struct address *b, __u32 network)
{
	return is_link_local(a) || is_link_local(b) ? network : 0;
}

#endif
