package loader

import (
	"errors"

	"golang.org/x/sys/unix"
)

// capabilities looks at what this process may do.
func capabilities() []Feature {
	var list []Feature
	have, err := effectiveCapabilities()
	for _, c := range []struct {
		name    string
		number  uint
		purpose string
	}{
		{"CAP_BPF", unix.CAP_BPF, "load programs and make maps"},
		{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN, "attach programs and set up interfaces"},
		{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN, "mount bpffs and enter network namespaces"},
	} {
		missing := err
		if missing == nil && have>>c.number&1 == 0 {
			missing = errors.New("this process may not " + c.purpose)
		}
		list = append(list, tried(c.name, true, missing,
			"run as root, or name it in AmbientCapabilities and CapabilityBoundingSet of the systemd unit"))
	}
	return list
}

// effectiveCapabilities gives the set as bits by capability number.
func effectiveCapabilities() (uint64, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, err
	}
	return uint64(data[0].Effective) | uint64(data[1].Effective)<<32, nil
}
