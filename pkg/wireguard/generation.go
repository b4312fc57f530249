package wireguard

import (
	"strconv"
	"strings"
	"time"
)

// Linger is how long the device of an old key stays after nobody needs it any more,
// for what is on its way: longer than any round trip.
const Linger = 2 * time.Second

// Generation counts the keys of a network: all its nodes have one of the same
// generation, and while the keys are being changed one of the next as well. Devices
// of one generation are each other's peers, those of two are not.
//
// It counts in a circle (serial number arithmetic, RFC 1982), so that nobody who
// names a high one can keep the others from changing their keys again.
type Generation uint32

// Next gives the one that follows.
func (g Generation) Next() Generation { return g + 1 }

// After tells whether g comes after another.
func (g Generation) After(other Generation) bool { return int32(g-other) > 0 }

// KeyName names a network's key of a generation among Keys.
func KeyName(network string, g Generation) string {
	if g == 0 {
		return network
	}
	return network + "." + strconv.FormatUint(uint64(g), 10)
}

// ParseKeyName gives what KeyName made a name of.
func ParseKeyName(name string) (network string, g Generation, ok bool) {
	network, count, later := strings.Cut(name, ".")
	if later {
		n, err := strconv.ParseUint(count, 10, 32)
		if err != nil {
			return "", 0, false
		}
		g = Generation(n)
	}
	return network, g, network != "" && KeyName(network, g) == name
}
