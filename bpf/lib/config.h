/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_CONFIG_H
#define ZOSNET_CONFIG_H

#include <linux/types.h>

/* What is settled when a program is loaded. To the verifier these are constants: it
 * removes what they rule out, so that a variant of a program costs a packet nothing.
 * pkg/loader sets them. */

/* Bytes of the header that the link puts before an IP packet: 14 of Ethernet, 0
 * where there is none (PPP, tun, WireGuard). */
const volatile __u32 link_header = 14;

#define SECOND 1000000000ULL

/* How long something is remembered without a packet, in ns. RFC 5382 5, RFC 4787
 * 4.3, RFC 5508 3.2, and what stateful firewalls commonly use for what those leave
 * open. */
struct timeouts {
	__u64 tcp_opening;
	__u64 tcp_established;
	__u64 tcp_closing;
	__u64 tcp_closed;
	__u64 icmp;
	__u64 other_opening; /* UDP, and all that is neither TCP nor ICMP */
	__u64 other;
	__u64 denied; /* a flow that rules refuse: until both ends have given up */
	__u64 fragment;
	__u64 dhcp;	 /* longer than any client waits between two tries */
	__u64 neighbour; /* then the kernel is asked for the way to the world again */
};

const volatile struct timeouts timeout = {
	.tcp_opening = 60 * SECOND,
	.tcp_established = 7440 * SECOND,
	.tcp_closing = 120 * SECOND,
	.tcp_closed = 20 * SECOND,
	.icmp = 60 * SECOND,
	.other_opening = 60 * SECOND,
	.other = 300 * SECOND,
	.denied = 600 * SECOND,
	.fragment = 10 * SECOND,
	.dhcp = 120 * SECOND,
	.neighbour = 1 * SECOND,
};

#endif
