/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef ZOSNET_DROP_H
#define ZOSNET_DROP_H

/* Why a packet was dropped. The names, lower case and without DROP_, are the
 * ones that metrics, `zosnet monitor`, `zosnet trace` and pcapng comments use. */
enum drop_reason {
	DROP_NONE = 0,

	/* the packet itself */
	DROP_MALFORMED,		     /* truncated, or lengths that contradict each other */
	DROP_EXTENSION_HEADERS,	     /* too many, out of order, or a routing header */
	DROP_FRAGMENT_WITHOUT_FIRST, /* its first fragment was not let through */
	DROP_FRAGMENT_OVERLAP,	     /* reaches into the transport header */
	DROP_TCP_FLAGS,		     /* a combination that no TCP sends */
	DROP_HOP_LIMIT,		     /* used up */

	/* what a workload may not send */
	DROP_NOT_IPV6,	       /* networks are IPv6 only inside */
	DROP_VLAN,	       /* tagged frame where no tag belongs */
	DROP_UNKNOWN_PORT,     /* an interface that belongs to no workload or network */
	DROP_SPOOFED_MAC,      /* source MAC is not the workload's */
	DROP_SPOOFED_ADDRESS,  /* source address is somebody else's */
	DROP_UNKNOWN_IDENTITY, /* source address of this network without a binding */
	DROP_ADDRESS_TAKEN,    /* DAD for an address that another holds */
	DROP_BINDING_LIMIT,    /* a VM claims more addresses than it may */
	DROP_ND_GUARD,	       /* neighbour discovery on behalf of others */
	DROP_RA_GUARD,	       /* router advertisement from a workload */
	DROP_REDIRECT_GUARD,   /* ICMPv6 redirect from a workload */
	DROP_DHCP_GUARD,       /* DHCPv6 server messages from a workload */
	DROP_MULTICAST,	       /* other than ND and MLD */
	DROP_HOST,	       /* for the node itself */

	/* rules */
	DROP_POLICY_INSIDE,   /* workload to workload of one network */
	DROP_POLICY_OUTBOUND, /* workload to outside */
	DROP_POLICY_INBOUND,  /* outside to workload */
	DROP_FLOW_DENIED,     /* a flow that its rule has been taken from */
	DROP_TCP_STATE,	      /* SYN-ACK or RST without a flow */
	DROP_ICMP_UNRELATED,  /* ICMP error about no known flow */
	DROP_ICMP_NO_QUERY,   /* ICMP reply to no query */
	DROP_FLOW_LIMIT,      /* no room for another flow */

	/* routing */
	DROP_UNASSIGNED, /* tenant space that nobody has */
	DROP_NO_ROUTE,	 /* no route, or one that leads to no uplink */

	/* the host */
	DROP_LOCKDOWN,	       /* for the host, and neither a reply nor allowed */
	DROP_DHCP_UNSOLICITED, /* DHCP answer without a request */
	DROP_HOST_REPLY,       /* what the host would say to a stranger */
	DROP_TENANT_LEAK,      /* a tenant's source address that no program judged */
	DROP_UNJUDGED,	       /* reached a workload's interface or an overlay without a verdict */

	DROP_REASONS, /* their number, not a reason */
};

#endif
