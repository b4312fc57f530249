package policy

// Reason says why a packet is dropped, by the name that metrics, `zosnet monitor`
// and pcapng comments use. The datapath's own list is enum drop_reason of
// bpf/lib/drop.h; a test holds these to it.
type Reason string

// The reasons that a first packet can be dropped for.
const (
	None                 Reason = "" // let through
	Malformed            Reason = "malformed"
	ExtensionHeaders     Reason = "extension_headers"
	FragmentWithoutFirst Reason = "fragment_without_first"
	FragmentOverlap      Reason = "fragment_overlap"
	TCPFlags             Reason = "tcp_flags"
	HopLimit             Reason = "hop_limit"
	NotIPv6              Reason = "not_ipv6"
	VLAN                 Reason = "vlan"
	UnknownPort          Reason = "unknown_port"
	SpoofedMAC           Reason = "spoofed_mac"
	SpoofedAddress       Reason = "spoofed_address"
	UnknownIdentity      Reason = "unknown_identity"
	AddressTaken         Reason = "address_taken"
	BindingLimit         Reason = "binding_limit"
	NDGuard              Reason = "nd_guard"
	RAGuard              Reason = "ra_guard"
	RedirectGuard        Reason = "redirect_guard"
	DHCPGuard            Reason = "dhcp_guard"
	Multicast            Reason = "multicast"
	Host                 Reason = "host"
	PolicyInside         Reason = "policy_inside"
	PolicyOutbound       Reason = "policy_outbound"
	PolicyInbound        Reason = "policy_inbound"
	TCPState             Reason = "tcp_state"
	ICMPUnrelated        Reason = "icmp_unrelated"
	ICMPNoQuery          Reason = "icmp_no_query"
	Unassigned           Reason = "unassigned"
	NoRoute              Reason = "no_route"
	Lockdown             Reason = "lockdown"
	DHCPUnsolicited      Reason = "dhcp_unsolicited"
)

// String gives the name.
func (r Reason) String() string { return string(r) }

// reason is why a flow that the rules of a side refuse is dropped.
func (s Side) reason() Reason {
	return [...]Reason{Inside: PolicyInside, Outbound: PolicyOutbound, Inbound: PolicyInbound}[s]
}

// Reasons gives all of them.
func Reasons() []Reason {
	return []Reason{
		Malformed, ExtensionHeaders, FragmentWithoutFirst, FragmentOverlap, TCPFlags, HopLimit, NotIPv6,
		VLAN, UnknownPort, SpoofedMAC, SpoofedAddress, UnknownIdentity, AddressTaken, BindingLimit,
		NDGuard, RAGuard, RedirectGuard, DHCPGuard, Multicast, Host, PolicyInside, PolicyOutbound,
		PolicyInbound, TCPState, ICMPUnrelated, ICMPNoQuery, Unassigned, NoRoute, Lockdown,
		DHCPUnsolicited,
	}
}
