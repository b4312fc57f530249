package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/zosnet/zosnet/test/lab"
)

// Wire is one interface of a machine, opened below IP: it sends frames as
// they are given and keeps every frame that comes in, VLAN tags included.
type Wire struct {
	MAC net.HardwareAddr
	MTU int

	machine *lab.Machine
	file    *os.File
	done    chan struct{}

	mu     sync.Mutex
	frames []gopacket.Packet
	more   chan struct{} // closed and replaced at each frame
}

// OpenWire opens an interface. Close ends it.
func OpenWire(on *lab.Machine, link string) (*Wire, error) {
	h, err := on.Netlink()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	l, err := h.LinkByName(link)
	if err != nil {
		return nil, fmt.Errorf("%s: find %s: %w", on.Name, link, err)
	}
	var fd int
	err = on.Do(func() (err error) {
		fd, err = packetSocket(l.Attrs().Index)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: open %s below IP: %w", on.Name, link, err)
	}
	w := &Wire{
		MAC: l.Attrs().HardwareAddr, MTU: l.Attrs().MTU, machine: on,
		// Non-blocking, so that the runtime polls it and Close wakes Read.
		file: os.NewFile(uintptr(fd), link),
		done: make(chan struct{}), more: make(chan struct{}),
	}
	go w.read()
	return w, nil
}

func packetSocket(index int) (int, error) {
	all := int(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL)))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, all)
	if err != nil {
		return -1, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20),
		unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP,
			&unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(all), Ifindex: index}),
	)
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (w *Wire) read() {
	defer close(w.done)
	raw, err := w.file.SyscallConn()
	if err != nil {
		return
	}
	buf, aux := make([]byte, 65536), make([]byte, 256)
	for {
		var n, auxLen int
		var failure error
		err := raw.Read(func(fd uintptr) bool {
			n, auxLen, _, _, failure = unix.Recvmsg(int(fd), buf, aux, 0)
			return !errors.Is(failure, unix.EAGAIN)
		})
		if err != nil || failure != nil {
			return
		}
		frame := restoreTag(buf[:n], aux[:auxLen])
		w.mu.Lock()
		w.frames = append(w.frames, gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default))
		close(w.more)
		w.more = make(chan struct{})
		w.mu.Unlock()
	}
}

// restoreTag puts the VLAN tag back which the kernel took out of the frame
// into the socket's auxiliary data (packet(7), PACKET_AUXDATA).
func restoreTag(frame, aux []byte) []byte {
	out := append([]byte(nil), frame...)
	const addresses = 12
	messages, err := unix.ParseSocketControlMessage(aux)
	if err != nil || len(frame) < addresses {
		return out
	}
	for _, m := range messages {
		// struct tpacket_auxdata: status at 0, vlan_tci at 16, vlan_tpid at 18.
		if m.Header.Level != unix.SOL_PACKET || m.Header.Type != unix.PACKET_AUXDATA || len(m.Data) < 20 {
			continue
		}
		if binary.NativeEndian.Uint32(m.Data)&unix.TP_STATUS_VLAN_VALID == 0 {
			continue
		}
		tagged := append([]byte(nil), frame[:addresses]...)
		tagged = binary.BigEndian.AppendUint16(tagged, binary.NativeEndian.Uint16(m.Data[18:]))
		tagged = binary.BigEndian.AppendUint16(tagged, binary.NativeEndian.Uint16(m.Data[16:]))
		return append(tagged, frame[addresses:]...)
	}
	return out
}

// Send sends one frame, Ethernet header first.
func (w *Wire) Send(frame []byte) error {
	if _, err := w.file.Write(frame); err != nil {
		return fmt.Errorf("%s: send a frame of %d bytes: %w", w.machine.Name, len(frame), err)
	}
	return nil
}

// Frames returns what has come in so far and matches.
func (w *Wire) Frames(match func(gopacket.Packet) bool) []gopacket.Packet {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []gopacket.Packet
	for _, f := range w.frames {
		if match(f) {
			found = append(found, f)
		}
	}
	return found
}

// Wait waits until a frame matches, and returns it.
func (w *Wire) Wait(ctx context.Context, match func(gopacket.Packet) bool) (gopacket.Packet, error) {
	for {
		w.mu.Lock()
		more := w.more
		w.mu.Unlock()
		if found := w.Frames(match); len(found) > 0 {
			return found[0], nil
		}
		select {
		case <-more:
		case <-w.done:
			return nil, fmt.Errorf("%s: the wire was closed", w.machine.Name)
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: no such frame came: %w", w.machine.Name, ctx.Err())
		}
	}
}

// Quiet waits for the time given and returns the frames that came in during
// it and match.
func (w *Wire) Quiet(during time.Duration, match func(gopacket.Packet) bool) []gopacket.Packet {
	before := len(w.Frames(match))
	time.Sleep(during)
	return w.Frames(match)[before:]
}

// Forget drops the frames kept so far.
func (w *Wire) Forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frames = nil
}

// Close ends the wire.
func (w *Wire) Close() {
	_ = w.file.Close()
	<-w.done
}
