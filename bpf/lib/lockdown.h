/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_LOCKDOWN_H
#define ZOSNET_LOCKDOWN_H

#include "flow.h"
#include "identity.h"

#define LOCKDOWN_RANGES 32

/* Node-wide state, one entry. */
struct node {
	__u64 trial_deadline; /* ns of CLOCK_BOOTTIME; 0: no trial */
	__u32 route_epoch;    /* next hops found under another are looked up again */
	__u32 lockdown;	      /* version of the lockdown_allow entries in force; 0: none */
	__u32 lockdown_trial; /* version in force until the deadline */
	__u32 watched;	      /* somebody reads drop events */
};

/* Longest match on the stranger's address; each entry holds what shorter prefixes
 * allow as well. */
struct lockdown_key {
	__u32 prefixlen; /* 32 for the version, then the CIDR's (IPv4: 96 more) */
	__be32 version;
	struct {
		__u8 bytes[16];
	} address;
};

struct lockdown_range {
	__u16 first; /* host order, inclusive */
	__u16 last;
	__u32 proto; /* 0: every protocol */
};

struct lockdown_allow {
	__u32 count;
	struct lockdown_range ranges[LOCKDOWN_RANGES];
};

/* A single port that is open to everybody of a family. There may be thousands: each
 * network's WireGuard listens on one of its own. */
struct lockdown_port_key {
	__u32 version; /* as in struct node */
	__u32 family;  /* 4 or 6 */
	__u32 proto;
	__u32 port; /* host order */
};

/* What comes in by an uplink: a VLAN whose interface is an uplink too, or, without
 * one, all the rest. */
struct uplink_key {
	__u32 ifindex;
	__u16 vlan_type; /* ether type of the outermost tag: 0x8100, 0x88a8 */
	__u16 vlan;
};

struct uplink {
	__u32 ifindex; /* whose programs judge it */
};

/* When the host last asked for an address. Where is all one: the answer comes in by
 * whichever card of a bond. */
struct dhcp_key {
	__u32 family; /* 4 or 6 */
};

#endif
