package userspace

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// version is that of the orders. A process that runs since before an update still
// understands them.
const version = 1

// What the process is asked to do.
const (
	opAdd    = "add"    // carry for a tun device; with it come its file and its uapi socket
	opListen = "listen" // take another uapi socket for a device; with it comes the socket
	opStart  = "start"  // open the UDP sockets; they come back, in no order
	opResize = "resize" // take the link's MTU over
	opRemove = "remove" // stop carrying; the link goes
	opList   = "list"   // names of all devices
)

// order is one request: one packet on the control socket, files beside it.
type order struct {
	Version int
	Op      string
	Name    string
}

// answer is the reply to an order.
type answer struct {
	Version int
	Error   string   `json:",omitempty"`
	Devices []string `json:",omitempty"`
}

// The largest packet that is sent: 4,095 networks, two devices each, in a list.
const largestMessage = 256 << 10

// filesInMessage is how many files come with one at most.
const filesInMessage = 4

func send(conn *net.UnixConn, message any, files ...*os.File) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(text) > largestMessage {
		return fmt.Errorf("a message of %d bytes; %d is the most", len(text), largestMessage)
	}
	var rights []byte
	if len(files) > 0 {
		var fds []int
		for _, f := range files {
			fd, err := number(f)
			if err != nil {
				return err
			}
			fds = append(fds, fd)
		}
		rights = unix.UnixRights(fds...)
	}
	_, _, err = conn.WriteMsgUnix(text, rights, nil)
	runtime.KeepAlive(files)
	return err
}

// number gives the descriptor of a file that stays open meanwhile. File.Fd would
// make it blocking, and with it the copy that wireguard-go reads from.
func number(f *os.File) (fd int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = raw.Control(func(n uintptr) { fd = int(n) })
	return fd, err
}

// receive reads one message into a value. The files that came with it are the
// caller's, also when it fails.
func receive(conn *net.UnixConn, into any) ([]*os.File, error) {
	text, rights := make([]byte, largestMessage), make([]byte, unix.CmsgSpace(4*filesInMessage))
	n, r, flags, _, err := conn.ReadMsgUnix(text, rights)
	if err != nil {
		return nil, err
	}
	files, err := filesOf(rights[:r])
	switch {
	case err != nil:
		return files, err
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		return files, errors.New("a message that is cut short")
	case n == 0:
		return files, io.EOF
	}
	return files, json.Unmarshal(text[:n], into)
}

func filesOf(rights []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
