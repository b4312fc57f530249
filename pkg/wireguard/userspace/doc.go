// Package userspace carries WireGuard packets where the kernel has no WireGuard: a
// process of its own, `zosnet wg`, one for all devices of a daemon, which outlives
// the daemon and is found again by the next one.
//
// Why one process for all: a process needs some 30 MB for itself and 1.5 MB for a
// device (BenchmarkManyDevices of pkg/wireguard/device), so that 500 networks take
// 0.8 GB in one process and 16 GB in 500. For that, their keys share an address
// space, and if it dies they are all without until the daemon makes them anew.
//
// The process begins without any privilege. What needs one is made by the daemon and
// handed over as open files: a tun device, the socket through which wgctrl and wg(8)
// configure it (Listen), and the socket on which the process takes orders.
//
// Devices are told apart by interface names; what they are for, and whether the
// kernel could do it, is for the caller.
package userspace
