// Package device makes WireGuard devices what they should be: links by netlink, keys
// and peers by wgctrl, in the kernel or, where it has no WireGuard, in the process of
// pkg/wireguard/userspace.
//
// It changes what differs and nothing else: a peer that stays as it is is not
// touched, whatever happens to the others, and a device never goes down. It must not
// know documents, the registry or the plan; routes and addresses are not its either.
package device

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"

	"github.com/zosnet/zosnet/pkg/wireguard"
	"github.com/zosnet/zosnet/pkg/wireguard/userspace"
)

// Config is what Open needs.
type Config struct {
	RunDir string // of the daemon; what is kept there is as old as the devices
	// Userspace has a process carry the packets also where the kernel could.
	Userspace bool
	// Command starts that process; default: this program with "wg".
	Command []string
	Log     *slog.Logger
}

// Devices are the WireGuard devices of one network namespace. Its calls belong in
// that namespace, and take turns.
type Devices struct {
	mu      sync.Mutex
	netlink *netlink.Handle
	wgctrl  *wgctrl.Client // nil: none yet
	process *userspace.Process
	memory  memory
	log     *slog.Logger
	kernel  bool // has WireGuard, as far as was tried

	// The links that the process carries, by interface index: a link goes with it, and
	// its number does not come again.
	carried map[int]bool
}

// Open changes nothing but to remove what dead processes have left.
func Open(c Config) (*Devices, error) {
	dir := filepath.Join(c.RunDir, "wireguard")
	process, err := userspace.Open(userspace.Options{Dir: dir, Command: c.Command, Log: c.Log})
	if err != nil {
		return nil, err
	}
	// Named, because a kernel without xfrm refuses the default set.
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	return &Devices{netlink: handle, process: process, memory: memory{dir: dir}, log: c.Log, kernel: !c.Userspace, carried: map[int]bool{}}, nil
}

// Close ends nothing but this hold of the devices.
func (d *Devices) Close() {
	d.forgetClient()
	d.netlink.Close()
}

// Apply makes a device what it should be, and tells what it changed: nothing, and
// nothing was written, where all was so already. A device that cannot be is refused
// before anything is changed. What fails half-way is finished by the next call.
func (d *Devices) Apply(want wireguard.Device) (changes []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	link, changes, err := d.settle(want)
	if err != nil {
		return changes, err
	}
	configured := link.carried && len(changes) > 0
	more, err := d.raise(link, configured)
	if err != nil {
		err = fmt.Errorf("WireGuard device %s: %w", want.Name, err)
	}
	return append(changes, more...), err
}

// Prepare makes a device that is not up yet, all but up, so that what must be in
// place before the first packet can be put there. Apply does the rest.
func (d *Devices) Prepare(want wireguard.Device) (changes []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, changes, err = d.settle(want)
	return changes, err
}

// settle makes a device all but up.
func (d *Devices) settle(want wireguard.Device) (l *link, changes []string, err error) {
	if err := want.Check(); err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("WireGuard device %s: %w", want.Name, err)
		}
	}()
	if l, err = d.find(want.Name); err != nil {
		return nil, nil, err
	}
	if l == nil {
		if l, err = d.create(want); err != nil {
			return nil, nil, err
		}
		changes = append(changes, "created")
	}
	more, err := d.setLink(l, want)
	if changes = append(changes, more...); err != nil {
		return l, changes, err
	}
	if more, err = d.listen(l); err != nil {
		return l, changes, err
	}
	changes = append(changes, more...)
	more, err = d.configure(want)
	return l, append(changes, more...), err
}

// listen makes the configuration socket of a device anew, if somebody has removed it.
func (d *Devices) listen(l *link) ([]string, error) {
	name := l.Attrs().Name
	if !l.carried || userspace.Configurable(name) {
		return nil, nil
	}
	return []string{"its configuration socket"}, d.process.Listen(name)
}

// configure sends what differs to the device.
func (d *Devices) configure(want wireguard.Device) ([]string, error) {
	is, err := d.read(want.Name)
	if err != nil {
		return nil, err
	}
	endpoints, err := d.memory.load(want.Name)
	if err != nil {
		d.log.Warn("the endpoints that peers were configured with are not known; those that are heard from stay where they are", "error", err)
	}
	change := wireguard.Difference(is, want, endpoints, time.Now())
	if !change.Empty() {
		if err := d.write(want.Name, change); err != nil {
			return nil, err
		}
	}
	return change.Lines(), d.memory.store(want, endpoints)
}

// Remove removes a device. One that is not there is no error.
func (d *Devices) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	link, err := d.find(name)
	if err != nil {
		return err
	}
	if err := d.process.Remove(name); err != nil {
		return err
	}
	if link != nil {
		delete(d.carried, link.Attrs().Index)
	}
	if link != nil && !link.carried {
		if err := d.netlink.LinkDel(link); err != nil && !gone(err) {
			return fmt.Errorf("remove WireGuard device %s: %w", name, err)
		}
	}
	return d.memory.forget(name)
}

func gone(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing) || errors.Is(err, unix.ENODEV)
}
