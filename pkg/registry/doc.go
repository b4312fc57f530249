// Package registry keeps what must outlive the daemon: the networks' documents
// and what was allocated for them, attachments, learned addresses and a lockdown
// trial. It is an etcd member inside the daemon, with its data in STATEDIR/etcd.
//
// It keeps a document as the text that was applied and never reads it: what a
// document means is pkg/spec's, what a node does with it pkg/plan's. It must not
// know the kernel.
//
// # Where it listens
//
// On STATEDIR/etcd/client.sock (directory mode 0700), for etcdctl and for nobody
// else: the daemon calls the member in process. There is no network socket, no
// abstract socket and no peer listener, for a single member has no peers.
//
// # Keys
//
// Everything is under /zosnet/v1/. Values are JSON with a "version" field, 1.
//
//	networks/NETWORK                    id, /64, file, document, service ids, time applied
//	prefixes/PREFIX                     node and network that own the /64; or until when it rests
//	network-ids/ID                      network that owns the id; or until when it rests
//	counters/service-id                 the next service id
//	attachments/NETWORK/WORKLOAD        service, kind, netns path or tap name, host number
//	bindings/NETWORK/WORKLOAD/ADDRESS   link-layer address, when it was learned
//	lockdown/trial                      allowed sources, deadline
//	registrations/PREFIX                source, contact, when it was registered here
//	blocks/BLOCK                        the node that delegated the block to this one
//
// # Changes
//
// Every change is one etcd transaction. It compares the mod revision of each key
// that it was computed from, and is computed again when one differs. A key
// stands for each /64, so no two networks can hold one, whatever crashes when.
//
// An answer means that the change is on disk (etcd's log is synced before).
//
// # The grid
//
// A node that is a member of the grid has a second etcd, [Member], with its data in
// STATEDIR/grid/etcd: it listens on the node's control address only, with mTLS, and
// has a vote in a cluster. The node's own state does not go there. It must be there,
// and writable, when a majority of the other members is not; and a member that is
// taken out, or comes back, starts from an empty directory. What is in the grid's
// registry is pkg/registry/gridstore's.
package registry
