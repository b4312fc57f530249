package apply

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// kept is what a link has besides what the netlink library tells of it.
type kept struct {
	inet6  map[string]string // its IPv6 sysctls, by the keys of inet6Conf and addr_gen_mode; nil: not read
	bridge spanning          // of a bridge
}

// spanning is how a bridge brings a port up.
type spanning struct {
	stp          uint32 // IFLA_BR_STP_STATE; 0: off
	forwardDelay uint32 // IFLA_BR_FORWARD_DELAY, in hundredths of a second (USER_HZ)
}

// inet6Conf is where the values that apply looks at stand in IFLA_INET6_CONF: the
// DEVCONF_ numbers of linux/ipv6.h, which are the kernel's interface and stay.
var inet6Conf = map[string]int{"accept_ra": 3, "proxy_ndp": 22, "disable_ipv6": 26, "accept_dad": 27}

const addrGenMode = "addr_gen_mode"

// Attribute numbers that golang.org/x/sys has not (linux/if_link.h, rtnetlink.h).
const (
	inet6ConfAttribute        = 2
	inet6AddrGenModeAttribute = 8
	brForwardDelay            = 1
	brSTPState                = 5
	skipStatistics            = 1 << 3 // RTEXT_FILTER_SKIP_STATS
)

// dumpLinks reads every link of the calling thread's namespace with its IPv6
// sysctls: one dump, where a file of /proc for each costs more than all else that a
// comparison does.
func dumpLinks() (list []netlink.Link, more map[int]kept, err error) {
	messages, err := dump(func() ([][]byte, error) {
		request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
		request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
		request.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(nl.RTEXT_FILTER_VF|skipStatistics)))
		return request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("list links: %w", err)
	}
	more = make(map[int]kept, len(messages))
	for _, message := range messages {
		link, err := netlink.LinkDeserialize(nil, message)
		if err != nil {
			return nil, nil, fmt.Errorf("list links: %w", err)
		}
		list = append(list, link)
		if more[link.Attrs().Index], err = parseKept(message); err != nil {
			return nil, nil, fmt.Errorf("list links: read %s: %w", link.Attrs().Name, err)
		}
	}
	return list, more, nil
}

// parseKept reads an RTM_NEWLINK message.
func parseKept(message []byte) (k kept, err error) {
	if len(message) < unix.SizeofIfInfomsg {
		return k, errors.New("the message is cut off")
	}
	err = eachAttribute(message[unix.SizeofIfInfomsg:], func(kind uint16, value []byte) error {
		switch kind {
		case unix.IFLA_AF_SPEC:
			return eachAttribute(value, func(family uint16, value []byte) error {
				if family != unix.AF_INET6 {
					return nil
				}
				k.inet6 = map[string]string{}
				return eachAttribute(value, k.parseInet6)
			})
		case unix.IFLA_LINKINFO:
			return eachAttribute(value, func(kind uint16, value []byte) error {
				if kind != nl.IFLA_INFO_DATA {
					return nil
				}
				return eachAttribute(value, k.parseBridge)
			})
		}
		return nil
	})
	return k, err
}

func (k *kept) parseInet6(kind uint16, value []byte) error {
	switch {
	case kind == inet6AddrGenModeAttribute && len(value) > 0:
		k.inet6[addrGenMode] = strconv.Itoa(int(value[0]))
	case kind == inet6ConfAttribute:
		for key, number := range inet6Conf {
			if len(value) >= 4*(number+1) {
				k.inet6[key] = strconv.Itoa(int(int32(binary.NativeEndian.Uint32(value[4*number:]))))
			}
		}
	}
	return nil
}

// parseBridge may see another kind of link's data, whose numbers are nobody's here.
func (k *kept) parseBridge(kind uint16, value []byte) error {
	if len(value) == 4 {
		switch kind {
		case brForwardDelay:
			k.bridge.forwardDelay = binary.NativeEndian.Uint32(value)
		case brSTPState:
			k.bridge.stp = binary.NativeEndian.Uint32(value)
		}
	}
	return nil
}

// eachAttribute calls f with the attributes of a netlink message (netlink(7)).
func eachAttribute(b []byte, f func(kind uint16, value []byte) error) error {
	for len(b) >= syscall.SizeofRtAttr {
		length := int(binary.NativeEndian.Uint16(b))
		kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if length < syscall.SizeofRtAttr || length > len(b) {
			return errors.New("an attribute is cut off")
		}
		if err := f(kind, b[syscall.SizeofRtAttr:length]); err != nil {
			return err
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return nil
}
