// Package apply makes the kernel match a plan.State with the smallest change.
//
// Each kind of object (bridge, route, workload, uplink, …) has a file that says how
// it is observed, what differs from the plan, and how that is changed. Applying the
// same State again changes nothing; an Apply that was cut short is finished by the
// next; what the plan no longer has is removed, and nothing that is not zosnet's.
//
// What is zosnet's is told by the object itself, so that no file has to be kept in
// step with the kernel: links carry the alias "zosnet NETWORK[/WORKLOAD]" or a name
// that only the plan gives, routes the protocol number RouteProtocol, pause namespaces
// an alias on their lo. Only what cannot be read back is noted in a file: digests of
// the versions in the maps, and what sysctls were before.
//
// The order is such that nothing is open while it is being made: identities and
// rules first, then programs, then links up; removal goes the other way.
//
// The package must not know documents or the registry. It works in the network
// namespace that the process is in.
package apply
