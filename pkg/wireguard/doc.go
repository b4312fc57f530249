// Package wireguard says what a WireGuard device of a network is: keys, peers,
// listen port, MTU, the smallest change from what a device has to what it should
// have, the change of keys without a lost packet, and a person's configuration.
//
// It is arithmetic on values, and the files of private keys. It must not know
// documents, the registry or the plan, and no kernel: devices are made and read in
// pkg/wireguard/device, and where the kernel has no WireGuard their packets are
// carried by pkg/wireguard/userspace.
package wireguard
