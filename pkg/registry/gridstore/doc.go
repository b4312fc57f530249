// Package gridstore is a node's part in the grid's registry: it writes what the node may
// write, and keeps a proven copy of what concerns the node, in memory and in a file.
//
// It knows keys, values and who may sign them. It must not know the kernel, what a
// document means, or what a node does with any of it. Who is believed is
// pkg/trust's; the members of the cluster are pkg/registry's.
//
// # Keys
//
// Everything is under /zosnet/v1/. Values are JSON with a "version" field, 1; fields
// that this version does not know survive its writes.
//
//	nodes/NODE/record                        what the node is                       signed by it
//	nodes/NODE/certificate                   its certificates, PEM                  by the grid's CA
//	nodes/NODE/live                          that its daemon runs                   under a lease
//	nodes/NODE/networks/NETWORK              its part: /64, WireGuard key, port     signed by it
//	nodes/NODE/attachments/NETWORK/WORKLOAD  a workload: service, address           signed by it
//	nodes/NODE/bindings/NETWORK/WORKLOAD/ADDRESS  an address that one took          signed by it
//	nodes/NODE/prefixes/PREFIX               an allocation that it holds            signed by it
//	nodes/NODE/delegations/BLOCK             which node has that block of it        signed by it
//	nodes/NODE/requests/blocks               how many blocks it wants of whom       signed by it
//	nodes/NODE/tokens/ID                     a join token that it made              only it reads it
//	networks/NETWORK                         the document and its revision          signed by its owner
//	networks/NETWORK/revisions/REVISION      a past document                        signed by its owner
//	workloads/NETWORK/WORKLOAD               which node has the workload's name     a claim
//	spans/NODE/NETWORK                       that the network names the node        a claim
//	removed/NODE                             that it was taken out of the grid      by the members
//	roster/NODE                              that the node is in the grid           by the members
//	members/NODE                             that the node is a member              by the members
//	issued/NODE                              the certificates that it was given    by the members
//	trust/revocations                        certificates that are good no more     signed by the grid's CA
//	trust/recovery                           that the registry was lost and made again from one member's copy
//
// A claim opens nothing: at worst it is late, or not there.
//
// # What a node hears
//
// Its own keys and spans, the members and the revocation list; of each network in its spans the document, and of every
// other node that the document is for its record, certificate, lease, and what it
// has in that network; the delegations behind those parts; the holder that it asks
// for blocks. A node that holds an allocation also hears the roster and everybody's
// requests.
//
// All of it comes by one watch stream. A snapshot is at one revision: what happened
// is put together from all ranges before anybody hears of it. After a cut the stream
// goes on from the last revision; where etcd has forgotten that, or the cluster is
// another one or was recovered meanwhile, everything is read again.
package gridstore
