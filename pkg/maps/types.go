package maps

import (
	"net"
	"net/netip"
	"strings"
)

// The C types, under the names that the rest of the house uses.
type (
	// Address is 16 bytes in network order, IPv4 mapped; see AddressOf.
	Address = bpfAddress
	// MAC is 6 bytes; see MACOf.
	MAC = bpfMac
	// Node is the node-wide entry: lockdown in force, trial, route epoch.
	Node = bpfNode
	// Network is a network by its id: gateway, policy version, generation, MTU in bytes.
	Network = bpfNetwork
	// Port is a workload's host-side interface, by ifindex.
	Port = bpfPort
	// Overlay is the interface to a network's other nodes, by ifindex.
	Overlay = bpfOverlay
	// BindingKey is an address, with its network where it is link-local; see BindingOf.
	BindingKey = bpfBindingKey
	// Binding says who has an address.
	Binding = bpfBinding
	// PrefixKey is a piece of this node's address space, by longest match.
	PrefixKey = bpfPrefixKey
	// UplinkKey is what comes in by an interface that leads to the world: of a VLAN
	// that is an uplink of its own, or all the rest.
	UplinkKey = bpfUplinkKey
	// Uplink says whose programs judge it.
	Uplink = bpfUplink
	// PolicyKey names a class of a dimension in one version of a policy.
	PolicyKey = bpfPolicyKey
	// PolicyVector is the entries that match a class, one bit each.
	PolicyVector = bpfPolicyVector
	// PolicyCIDRKey leads from an address to its class, by longest match.
	PolicyCIDRKey = bpfPolicyCidrKey
	// PolicyPortKey leads from a protocol and port to its class, by longest match.
	PolicyPortKey = bpfPolicyPortKey
	// RuleKey is an entry of a network's policy, by its position.
	RuleKey = bpfRuleKey
	// RuleCount is how many flows an entry decided.
	RuleCount = bpfRuleCount
	// LockdownKey is a stranger's prefix in one version of the openings.
	LockdownKey = bpfLockdownKey
	// LockdownPortKey is a single port that is open to everybody of a family.
	LockdownPortKey = bpfLockdownPortKey
	// LockdownAllow is what strangers of a prefix may reach.
	LockdownAllow = bpfLockdownAllow
	// LockdownRange is a range of ports, inclusive, in host order.
	LockdownRange = bpfLockdownRange
	// FlowKey is both ends of a flow, the same for either direction.
	FlowKey = bpfFlowKey
	// Flow is one tracked connection; times are ns, coarse monotonic.
	Flow = bpfFlow
	// FlowEnd is one end of a flow, with what it sent.
	FlowEnd = bpfFlowEnd
	// NextHop is how packets reach one end of a flow.
	NextHop = bpfNextHop
	// HostFlowKey is the ends of a flow of the host.
	HostFlowKey = bpfHostFlowKey
	// HostFlow is a flow that the host itself started.
	HostFlow = bpfHostFlow
	// DropKey is a reason for which packets of a network are dropped.
	DropKey = bpfDropKey
	// DropReason says why a packet was dropped.
	DropReason = bpfDropReason
	// Counter is packets and their bytes.
	Counter = bpfCounter
	// Traffic is what a network's workloads sent, and what reached them.
	Traffic = bpfTraffic
	// Timeouts are how long the programs remember things, in ns.
	Timeouts = bpfTimeouts
	// Event is a packet that somebody may want to see; time is ns of CLOCK_BOOTTIME.
	Event = bpfEvent
	// Hook says which program sent an event.
	Hook = bpfHook
	// Dimension is what of a packet a policy vector is about.
	Dimension = bpfPolicyDimension
)

// Constants that the datapath and the daemon share.
const (
	MaxNetworks   = int(bpfLimitLIMIT_NETWORKS)
	MaxPrefixes   = int(bpfLimitLIMIT_PREFIXES)
	PolicyEntries = int(bpfLimitLIMIT_POLICY_ENTRIES)
	LockdownMax   = int(bpfLimitLIMIT_LOCKDOWN_RANGES)
	MaxFlows      = int(bpfLimitLIMIT_FLOWS)
	FlowWays      = int(bpfLimitLIMIT_FLOW_WAYS)
	FlowShares    = int(bpfLimitLIMIT_FLOW_SHARES)
	MarkJudged    = uint32(bpfLimitMARK_JUDGED)

	NetworkHasCIDRs = uint32(bpfNetworkFlagNETWORK_HAS_CIDRS)
	NetworkHasLogs  = uint32(bpfNetworkFlagNETWORK_HAS_LOGS)
	PortVeth        = uint32(bpfPortKindPORT_VETH)
	PortTap         = uint32(bpfPortKindPORT_TAP)
	PortOverlay     = uint32(bpfPortKindPORT_OVERLAY)
	PrefixTenant    = uint32(bpfPrefixKindPREFIX_TENANT)
	PrefixNode      = uint32(bpfPrefixKindPREFIX_NODE)

	FromService = bpfPolicyDimensionPOLICY_FROM_SERVICE
	ToService   = bpfPolicyDimensionPOLICY_TO_SERVICE
	FromCIDR    = bpfPolicyDimensionPOLICY_FROM_CIDR
	ToCIDR      = bpfPolicyDimensionPOLICY_TO_CIDR
	PortClass   = bpfPolicyDimensionPOLICY_PORT
	AllowClass  = bpfPolicyDimensionPOLICY_ALLOW
	LogClass    = bpfPolicyDimensionPOLICY_LOG

	EventDrop  = bpfEventKindEVENT_DROP
	EventLog   = bpfEventKindEVENT_LOG
	EventLearn = bpfEventKindEVENT_LEARN
)

// String gives the reason's name as metrics, monitor and trace show it.
func (r bpfDropReason) String() string {
	if int(r) < len(dropReasonNames) {
		return dropReasonNames[r]
	}
	return "unknown"
}

// DropReasons gives every reason, in the order of the enum, DROP_NONE first.
func DropReasons() []DropReason {
	reasons := make([]DropReason, len(dropReasonNames))
	for i := range reasons {
		reasons[i] = DropReason(i)
	}
	return reasons
}

// AddressOf gives a as the datapath holds it: 16 bytes in network order, IPv4
// mapped (RFC 4291, 2.5.5.2).
func AddressOf(a netip.Addr) Address {
	return Address{Bytes: a.As16()}
}

// Addr gives the address, IPv4 unmapped.
func (a bpfAddress) Addr() netip.Addr {
	return netip.AddrFrom16(a.Bytes).Unmap()
}

// MACOf gives the MAC of a 6-byte hardware address; shorter ones give zeros.
func MACOf(hw net.HardwareAddr) (m MAC) {
	copy(m.Bytes[:], hw)
	return m
}

// String gives the MAC in colon form.
func (m bpfMac) String() string {
	return net.HardwareAddr(m.Bytes[:]).String()
}

// String gives the hook by the name of its program.
func (h bpfHook) String() string {
	switch h {
	case bpfHookHOOK_UPLINK_XDP:
		return "uplink_xdp"
	case bpfHookHOOK_UPLINK_INGRESS:
		return "uplink_ingress"
	case bpfHookHOOK_UPLINK_EGRESS:
		return "uplink_egress"
	case bpfHookHOOK_WORKLOAD_EGRESS:
		return "workload_egress"
	case bpfHookHOOK_WORKLOAD_INGRESS:
		return "workload_ingress"
	case bpfHookHOOK_OVERLAY_INGRESS:
		return "overlay_ingress"
	case bpfHookHOOK_OVERLAY_EGRESS:
		return "overlay_egress"
	}
	return "unknown"
}

// reasonName turns DROP_SPOOFED_MAC into spoofed_mac.
func reasonName(c string) string {
	return strings.ToLower(strings.TrimPrefix(c, "DROP_"))
}
