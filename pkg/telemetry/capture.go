package telemetry

import (
	"fmt"
	"io"
	"strings"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/zosnet/zosnet/pkg/maps"
)

// snapLength is how many bytes of a frame an event has at most.
const snapLength = uint32(len(maps.Event{}.Head))

// Capture writes events as a pcapng file, which tcpdump and Wireshark read: the
// first bytes of each frame, and as its comment why it was dropped. It is not safe
// for several goroutines.
type Capture struct {
	file       *pcapgo.NgWriter
	interfaces map[string]int
}

// NewCapture begins a file.
func NewCapture(w io.Writer) (*Capture, error) {
	options := pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{Application: "zosnet"}}
	file, err := pcapgo.NewNgWriterInterface(w, captureInterface("unknown"), options)
	if err != nil {
		return nil, fmt.Errorf("begin a pcapng file: %w", err)
	}
	return &Capture{file: file, interfaces: map[string]int{"": 0}}, nil
}

// captureInterface describes an interface. All have one link type and one snapshot
// length, since libpcap refuses files in which they differ.
func captureInterface(name string) pcapgo.NgInterface {
	return pcapgo.NgInterface{
		Name: name, LinkType: layers.LinkTypeEthernet, SnapLength: snapLength,
		TimestampResolution: 9, // nanoseconds
	}
}

// Write adds a frame to the file and hands it to the writer. An event without one
// is left out.
func (c *Capture) Write(e Event) error {
	if len(e.Frame) == 0 {
		return nil
	}
	index, known := c.interfaces[e.Interface]
	if !known {
		var err error
		if index, err = c.file.AddInterface(captureInterface(e.Interface)); err != nil {
			return fmt.Errorf("write interface %s to a pcapng file: %w", e.Interface, err)
		}
		c.interfaces[e.Interface] = index
	}
	info := gopacket.CaptureInfo{Timestamp: e.Time, InterfaceIndex: index,
		CaptureLength: len(e.Frame), Length: max(int(e.Length), len(e.Frame))}
	err := c.file.WritePacketWithOptions(info, e.Frame, pcapgo.NgPacketOptions{Comments: []string{e.comment()}})
	if err == nil {
		err = c.file.Flush()
	}
	if err != nil {
		return fmt.Errorf("write a frame to a pcapng file: %w", err)
	}
	return nil
}

// comment gives "drop spoofed_mac, network acme, workload_egress".
func (e Event) comment() string {
	parts := []string{string(e.Kind)}
	if e.Kind == Dropped {
		parts[0] += " " + e.Reason
	}
	if e.Network != "" {
		parts = append(parts, "network "+e.Network)
	}
	if e.Rule != "" {
		parts = append(parts, e.Rule)
	}
	return strings.Join(append(parts, e.Hook), ", ")
}
