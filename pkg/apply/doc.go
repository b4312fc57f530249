// Package apply makes the kernel match a plan.State with the smallest change.
//
// Each kind of object (bridge, route, workload, uplink, …) has a file that says how
// it is observed, what differs from the plan, and how that is changed. Applying the
// same State again changes nothing; an Apply that was cut short is finished by the
// next; what the plan no longer has is removed, and nothing that is not zosnet's.
//
// What is zosnet's is told by the object itself, so that no file has to be kept in
// step with the kernel: links carry the alias "zosnet NETWORK[/WORKLOAD]", routes
// the protocol number RouteProtocol, pause namespaces an alias on their lo.
//
// The order is such that nothing is open while it is being made: identities and
// rules first, then programs, then links up; removal goes the other way.
//
// The package must not know documents or the registry. It works in the network
// namespace that the process is in.
package apply
