package apply

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// sysctlRoot shows the sysctls of the network namespace of the thread that opens
// a file below it.
const sysctlRoot = "/proc/sys"

// interfaceSysctl names an IPv6 sysctl of one interface, such as
// "net/ipv6/conf/eth0/accept_ra".
func interfaceSysctl(ifname, key string) string {
	return "net/ipv6/conf/" + ifname + "/" + key
}

// readSysctl gives a sysctl's value; one that is not there is "".
func readSysctl(name string) (string, error) {
	value, err := os.ReadFile(filepath.Join(sysctlRoot, name))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read sysctl %s: %w", name, err)
	}
	return strings.TrimSpace(string(value)), nil
}

func writeSysctl(name, value string) error {
	if err := os.WriteFile(filepath.Join(sysctlRoot, name), []byte(value), 0); err != nil {
		return fmt.Errorf("write sysctl %s=%s: %w", name, value, err)
	}
	return nil
}

// compareSysctls gives what an interface's IPv6 sysctls differ in, by the order of
// keys in want. What was not read with the link is read now.
func compareSysctls(ifname string, read kept, want []sysctl) ([]difference, error) {
	var differences []difference
	for _, s := range want {
		have, known := read.inet6[s.key]
		if !known {
			var err error
			if have, err = readSysctl(interfaceSysctl(ifname, s.key)); err != nil {
				return nil, err
			}
		}
		if have != s.value {
			differences = append(differences, difference{s.key, have, s.value})
		}
	}
	return differences, nil
}

// sysctl is a key of an interface's IPv6 sysctls and its value.
type sysctl struct{ key, value string }

// setSysctls writes them all.
func setSysctls(ifname string, want []sysctl) error {
	for _, s := range want {
		if err := writeSysctl(interfaceSysctl(ifname, s.key), s.value); err != nil {
			return err
		}
	}
	return nil
}
