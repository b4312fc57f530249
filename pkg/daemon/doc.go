// Package daemon wires the rooms of the house together into the process that
// runs on a node: registry → plan → apply, with telemetry and the API beside it.
//
// It is the only place that knows all of them, and holds no knowledge of its
// own about documents, packets or the kernel. It works in the network namespace
// that the process is in.
package daemon
