package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/zosnet/zosnet/tools/vmtest/guest"
	"github.com/zosnet/zosnet/tools/vmtest/job"
	"github.com/zosnet/zosnet/tools/vmtest/stranger"
)

// bootPackage is the package whose tests are the inside of a reboot.
const bootPackage = "test/boot"

// boot is one of a machine's boots, watched from outside.
type boot struct {
	disk    string // its machine: boots from one disk follow one another
	systemd bool   // Debian's systemd is process 1, and starts the tests as a service
	// What the stranger must hear on each cable, and what he may hear besides,
	// for as long as nobody listens on a port yet or any more.
	near, nearSometimes, far []string
}

// Two boots of a machine whose process 1 is ours. In the first nothing protects
// it: what the stranger hears then shows that he would hear it in the second.
var (
	first = boot{disk: "plain", near: []string{
		"IPv4 ICMP DestinationUnreachable(Port)", "IPv4 ICMP EchoReply",
		"IPv4 TCP SYN-ACK from port 22", "IPv4 TCP SYN-ACK from port 9022", "IPv4 TCP reset from port 80",
		"IPv6 ICMP DestinationUnreachable(PortUnreachable)", "IPv6 ICMP EchoReply",
		"IPv6 TCP SYN-ACK from port 22", "IPv6 TCP SYN-ACK from port 9022", "IPv6 TCP reset from port 80",
	}, nearSometimes: []string{
		"IPv4 TCP reset from port 22", "IPv4 TCP reset from port 9022",
		"IPv6 TCP reset from port 22", "IPv6 TCP reset from port 9022",
	}}
	second = boot{disk: "plain", near: failsafe, nearSometimes: failsafeClosed}
)

// Two boots of a machine under Debian's systemd, with the units of packaging. In
// the second node.yaml is wrong, so nothing is open, the failsafe neither.
var (
	units  = boot{disk: "systemd", systemd: true, near: failsafe, nearSometimes: failsafeClosed}
	closed = boot{disk: "systemd", systemd: true}
)

// What the stranger hears of the failsafe, which allows one port, to one address.
var (
	failsafe       = []string{"IPv4 TCP SYN-ACK from port 9022"}
	failsafeClosed = []string{"IPv4 TCP reset from port 9022"} // while nobody listens there
)

// The cables: the first card is there from the start, the second is plugged in
// when the test asks for it.
var (
	near = stranger.Link{
		Name: "near", GuestMAC: net.HardwareAddr{2, 0, 0, 0, 1, 0},
		Guest4: netip.MustParseAddr("192.0.2.10"), Guest6: netip.MustParseAddr("2001:db8:1::10"),
		Stranger4: netip.MustParseAddr("192.0.2.1"), Stranger6: netip.MustParseAddr("2001:db8:1::1"),
	}
	far = stranger.Link{
		Name: "far", GuestMAC: net.HardwareAddr{2, 0, 0, 0, 1, 1},
		Guest4: netip.MustParseAddr("198.51.100.10"), Guest6: netip.MustParseAddr("2001:db8:2::10"),
		Stranger4: netip.MustParseAddr("198.51.100.1"), Stranger6: netip.MustParseAddr("2001:db8:2::1"),
	}
)

// reboot boots a machine once for each stage, and gives a result for each.
func (t tree) reboot(ctx context.Context, m machine) ([]guest.Result, error) {
	disk := filepath.Join(t.build, m.kernel+"-"+m.stages[0].disk+".disk")
	defer func() { _ = os.Remove(disk) }()
	format := []string{"-q", "-F", disk, "256M"}
	if m.stages[0].systemd {
		format = append([]string{"-d", filepath.Join(t.root, systemdDir, "disk")}, format...)
	}
	if err := t.run(ctx, t.root, "mkfs.ext4", format...); err != nil {
		return nil, err
	}
	m.Arguments = append(slices.Clone(m.Arguments), "-drive", "file="+disk+",format=raw,if=virtio,cache=writethrough")
	var results []guest.Result
	for _, s := range m.stages {
		once := m
		once.Initramfs, once.Limit = s.initramfs, s.limit
		result, err := watched(ctx, once, s)
		if err != nil {
			return results, err
		}
		if results = append(results, result); result.Err != nil {
			break // the next boot would have no disk that makes sense
		}
	}
	return results, nil
}

// watched runs one boot with a stranger on each cable, and adds what they heard
// to what the guest said, as a test of its own.
func watched(ctx context.Context, m machine, s stage) (guest.Result, error) {
	dir, err := os.MkdirTemp("", "vmtest")
	if err != nil {
		return guest.Result{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	control := filepath.Join(dir, "qmp")
	m.Arguments = append(m.Arguments, "-qmp", "unix:"+control+",server=on,wait=off")
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	heard := map[string]*stranger.Stranger{}
	for _, link := range []stranger.Link{near, far} {
		who, err := stranger.Open(dir, link)
		if err != nil {
			return guest.Result{}, err
		}
		heard[link.Name] = who
		m.Arguments = append(m.Arguments, who.Netdev()...)
		go who.Run(ctx)
	}
	m.Arguments = append(m.Arguments, "-device", "virtio-net-pci,romfile=,netdev=near,mac="+near.GuestMAC.String())
	var plugged error
	result := m.Run(ctx, func(e job.Event) {
		if strings.Contains(e.Output, "vmtest wants: plug") {
			plugged = plug(control, far)
		}
	})
	if plugged != nil {
		result.Err = errors.Join(result.Err, fmt.Errorf("plug a card in: %w", plugged))
	}
	result.Events = append(result.Events, verdict(s.test+"SeenFromNear", s.near, s.nearSometimes, heard[near.Name].Answers())...)
	result.Events = append(result.Events, verdict(s.test+"SeenFromFar", s.far, nil, heard[far.Name].Answers())...)
	return result, nil
}

// verdict makes what a stranger heard a test's events.
func verdict(test string, must, may, got []string) []job.Event {
	text := fmt.Sprintf("the stranger heard %q\n", got)
	action := "pass"
	for _, each := range must {
		if !slices.Contains(got, each) {
			action, text = "fail", text+fmt.Sprintf("and not %q, which shows that he hears\n", each)
		}
	}
	for _, each := range got {
		if !slices.Contains(must, each) && !slices.Contains(may, each) {
			action, text = "fail", text+fmt.Sprintf("%q is not for him\n", each)
		}
	}
	return []job.Event{
		{Action: "output", Package: bootPackage, Test: test, Output: text},
		{Action: action, Package: bootPackage, Test: test},
	}
}

// plug puts a card into a running guest (QMP, device_add).
func plug(control string, link stranger.Link) error {
	conn, err := net.DialTimeout("unix", control, time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	answers := json.NewDecoder(conn)
	var greeting map[string]any
	if err := answers.Decode(&greeting); err != nil {
		return err
	}
	for _, command := range []map[string]any{
		{"execute": "qmp_capabilities"},
		{"execute": "device_add", "arguments": map[string]string{
			"driver": "virtio-net-pci", "netdev": link.Name, "id": "plugged", "mac": link.GuestMAC.String(),
		}},
	} {
		if err := json.NewEncoder(conn).Encode(command); err != nil {
			return err
		}
		if err := qmpAnswer(answers); err != nil {
			return fmt.Errorf("%v: %w", command["execute"], err)
		}
	}
	return nil
}

// qmpAnswer reads to the answer of a command, past events.
func qmpAnswer(answers *json.Decoder) error {
	for {
		var answer struct {
			Return json.RawMessage
			Error  *struct{ Desc string }
		}
		if err := answers.Decode(&answer); err != nil {
			return err
		}
		if answer.Error != nil {
			return errors.New(answer.Error.Desc)
		}
		if answer.Return != nil {
			return nil
		}
	}
}
