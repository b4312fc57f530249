package maps

import (
	"net"
	"net/netip"
	"strings"
)

// The C types, under the names that the rest of the house uses.
type (
	Address       = bpfAddress
	MAC           = bpfMac
	Node          = bpfNode
	Network       = bpfNetwork
	Port          = bpfPort
	BindingKey    = bpfBindingKey
	Binding       = bpfBinding
	PrefixKey     = bpfPrefixKey
	Uplink        = bpfUplink
	PolicyKey     = bpfPolicyKey
	PolicyVector  = bpfPolicyVector
	PolicyCIDRKey = bpfPolicyCidrKey
	PolicyPortKey = bpfPolicyPortKey
	RuleKey       = bpfRuleKey
	RuleCount     = bpfRuleCount
	LockdownKey   = bpfLockdownKey
	LockdownAllow = bpfLockdownAllow
	LockdownRange = bpfLockdownRange
	FlowKey       = bpfFlowKey
	Flow          = bpfFlow
	FlowEnd       = bpfFlowEnd
	NextHop       = bpfNextHop
	HostFlowKey   = bpfHostFlowKey
	HostFlow      = bpfHostFlow
	DropKey       = bpfDropKey
	DropReason    = bpfDropReason
	Counter       = bpfCounter
	Traffic       = bpfTraffic
	Event         = bpfEvent
	EventKind     = bpfEventKind
	Hook          = bpfHook
	Dimension     = bpfPolicyDimension
)

// Constants that the datapath and the daemon share.
const (
	MaxNetworks   = int(bpfLimitLIMIT_NETWORKS)
	MaxBindings   = int(bpfLimitLIMIT_BINDINGS)
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
	PrefixTenant    = uint32(bpfPrefixKindPREFIX_TENANT)
	PrefixNode      = uint32(bpfPrefixKindPREFIX_NODE)
	UplinkVLANs     = uint32(bpfUplinkFlagUPLINK_VLANS)

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
	}
	return "unknown"
}

// reasonName turns DROP_SPOOFED_MAC into spoofed_mac.
func reasonName(c string) string {
	return strings.ToLower(strings.TrimPrefix(c, "DROP_"))
}
