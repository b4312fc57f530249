package apply

import (
	"fmt"
	"strconv"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

func (s spanning) stpText() string { return strconv.FormatUint(uint64(s.stp), 10) }

func (s spanning) delayText() string {
	return (time.Duration(s.forwardDelay) * 10 * time.Millisecond).String()
}

// setSpanning writes both values, which the netlink library does not know of.
func setSpanning(link netlink.Link, s spanning) error {
	request := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_ACK)
	message := nl.NewIfInfomsg(unix.AF_UNSPEC)
	message.Index = int32(link.Attrs().Index)
	request.AddData(message)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	data.AddRtAttr(brSTPState, nl.Uint32Attr(s.stp))
	data.AddRtAttr(brForwardDelay, nl.Uint32Attr(s.forwardDelay))
	request.AddData(info)
	if _, err := request.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("set spanning tree of %s: %w", link.Attrs().Name, err)
	}
	return nil
}
