// Package grid brings nodes together: the control network on which the grid's
// registry listens, and the invitation by which a node gets in.
//
// The control network is one IPv6 /64 (a unique local prefix, random for each
// grid). Every node has one address in it, on a WireGuard interface that is apart
// from those of tenants. To a stranger the grid does not exist: nothing of it
// listens anywhere else.
//
// # How a node gets in
//
//  1. A node that has the CA's key makes a token ([trust.Token]), keeps its hash,
//     and takes the token's WireGuard key as a peer of its control interface.
//  2. The joining node takes that key and its address ([Guest]) and reaches the
//     invitation service ([Service]) of the node that invites, on its control
//     address and nowhere else.
//  3. TLS proves the service by the CA's fingerprint in the token. The node sends
//     the token's secret and a certificate request ([Join]); it gets its
//     certificate, the CA, its address and the members.
//  4. One transaction uses the token and takes the name. From then on the node is
//     a peer by its own key ([Peers]).
//
// The package gives plain values for interfaces and takes plain functions for what
// is stored. It must not know etcd, netlink or WireGuard's own interfaces.
package grid
