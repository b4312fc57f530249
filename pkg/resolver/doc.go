// Package resolver answers a network's names: `zosnet dns`, one process a network,
// in a namespace of the network, at PREFIX::53.
//
//	web-1.acme.internal     AAAA  a workload
//	db.acme.internal        AAAA  every healthy workload of a service
//	web.n2.acme.internal    AAAA  those of them on a node
//	….ip6.arpa              PTR   the workload that has an address
//
// Other names are forwarded where servers are named, else refused. Nothing under
// internal. is ever forwarded: those names are nobody else's business.
//
// What it knows it reads from a directory, and again when a file there is replaced,
// so that its answers outlive whoever wrote them:
//
//	zone     a master file (RFC 1035, section 5) as Network.Zone makes it
//	forward  servers as in resolv.conf(5): "nameserver ADDRESS" lines; may be missing
//
// The package must not know documents, the plan, the registry nor how packets
// get to it; who may ask is the datapath's to decide.
package resolver
