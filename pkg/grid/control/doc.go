// Package control makes a node's control interface in the kernel: the WireGuard
// device, its address and route, and a filter, so that of the host nothing but the
// grid's own services can be reached through it.
//
// What the interface should be is pkg/grid's to say. It must not know the registry,
// tokens or certificates.
package control
