package wireguard

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Listen ports lie below those that Linux gives to clients (32768 and up, ip(7)), so
// that no connection of the host is in the way. There are two for each of the 4,095
// networks that a node may have, since a rotation needs a second one.
const (
	FirstPort uint16 = 20480
	LastPort  uint16 = FirstPort + ports - 1

	// Those of entrances, whose ports stand in people's configurations, are others, so
	// that neither is ever in the other's way: one for each network.
	FirstEntrancePort uint16 = LastPort + 1
	LastEntrancePort  uint16 = FirstEntrancePort + entrancePorts - 1

	ports, entrancePorts = 8192, 4096 // powers of two
)

// Port gives the port on which a node listens for a network: always the same one,
// unless it is taken; then the next of a sequence that is also always the same. The
// caller keeps it, for taken depends on what came first.
func Port(network, node string, taken func(uint16) bool) (uint16, error) {
	return choosePort(network, node, FirstPort, ports, taken)
}

// EntrancePort gives the port on which a node listens for people's devices of a
// network, in the same way.
func EntrancePort(network, node string, taken func(uint16) bool) (uint16, error) {
	return choosePort(network, node, FirstEntrancePort, entrancePorts, taken)
}

func choosePort(network, node string, first, count uint16, taken func(uint16) bool) (uint16, error) {
	sum := sha256.Sum256([]byte(network + "/" + node))
	at := binary.BigEndian.Uint16(sum[0:])
	step := binary.BigEndian.Uint16(sum[2:]) | 1 // odd: it comes to every port
	for range count {
		if port := first + at%count; !taken(port) {
			return port, nil
		}
		at += step
	}
	return 0, fmt.Errorf("network %s: all %d WireGuard ports of node %s, %d to %d, are taken", network, count, node, first, first+count-1)
}
