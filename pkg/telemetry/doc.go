// Package telemetry shows what the datapath does: counters as Prometheus metrics
// on a unix socket, drops and what else happens as a stream of events, and dropped
// frames as a pcapng file.
//
// It reads maps and never writes them, but for the flag that asks for drop events.
// It must not know documents, the registry or the plan: whoever starts it gives a
// Lookup, which turns the datapath's numbers into the names that people use.
package telemetry
