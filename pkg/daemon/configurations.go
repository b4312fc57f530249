package daemon

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/spec"
)

// configurations keeps what stands in the configurations of access devices that were
// given out here. Other nodes do not know of them.
type configurations struct {
	path string

	mu    sync.Mutex
	given map[string]map[string]configuration // by network and device
}

// configuration is what stands in one, but its private key.
type configuration struct {
	Given      time.Time `json:"given"`
	PublicKey  string    `json:"publicKey"`
	At         string    `json:"at"`
	Address    string    `json:"address"`
	Peer       string    `json:"peer"`
	Endpoint   string    `json:"endpoint"`
	DNS        []string  `json:"dns"`
	Search     string    `json:"search"`
	MTU        uint32    `json:"mtu"`
	AllowedIPs []string  `json:"allowedIPs"`
}

func openConfigurations(stateDir string) (*configurations, error) {
	c := &configurations{path: filepath.Join(stateDir, "configurations.json"), given: map[string]map[string]configuration{}}
	if err := readKept(c.path, &c.given); err != nil {
		return nil, fmt.Errorf("read what configurations were given out: %w", err)
	}
	return c, nil
}

// give notes that a device's configuration was given out, and lets go of those of
// devices that its document has no more.
func (c *configurations) give(document *spec.Network, m *api.AccessDevice, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := map[string]configuration{}
	for name, given := range c.given[document.Name] {
		if a, there := document.Device(name); there && a.PublicKey == given.PublicKey {
			next[name] = given
		}
	}
	next[m.Name] = configuration{
		Given: now.UTC(), PublicKey: m.PublicKey, At: m.At, Address: m.Address, Peer: m.Peer, Endpoint: m.Endpoint,
		DNS: m.Dns, Search: m.Search, MTU: m.Mtu, AllowedIPs: m.AllowedIps,
	}
	return c.replace(document.Name, next)
}

// forget removes what was given out of a network that is gone.
func (c *configurations) forget(network string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.given[network]; !known {
		return nil
	}
	return c.replace(network, nil)
}

// replace keeps other configurations of a network. c.mu is held.
func (c *configurations) replace(network string, next map[string]configuration) error {
	all := maps.Clone(c.given)
	if all[network] = next; len(next) == 0 {
		delete(all, network)
	}
	if err := writeKept(c.path, all); err != nil {
		return fmt.Errorf("keep what configurations were given out: %w", err)
	}
	c.given = all
	return nil
}

// compare tells of a device, as it is now, when its configuration was given out, and what
// has changed since.
func (c *configurations) compare(m *api.AccessDevice) {
	c.mu.Lock()
	given, known := c.given[m.Network][m.Name]
	c.mu.Unlock()
	if !known || given.PublicKey != m.PublicKey {
		return
	}
	m.Given, m.Outdated = timeText(given.Given), given.outdated(m)
}

// outdated says what of a configuration is not so any more. Of what is not known now it
// says nothing.
func (c configuration) outdated(is *api.AccessDevice) (list []string) {
	if is.Problem != "" {
		return nil
	}
	say := func(differs bool, format string, args ...any) {
		if differs {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	moved := is.At != c.At
	say(moved, "it ends at node %s and no more at %s", is.At, c.At)
	say(!moved && is.Endpoint != c.Endpoint, "node %s is reached at %s and no more at %s", is.At, is.Endpoint, c.Endpoint)
	say(!moved && is.Peer != c.Peer, "node %s has another public key for it", is.At)
	say(!moved && is.Address != c.Address, "its address is %s and no more %s", is.Address, c.Address)
	say(!moved && !slices.Equal(is.Dns, c.DNS) || is.Search != c.Search, "the network's resolver is another one")
	say(is.Mtu != c.MTU, "its MTU is %d and no more %d", is.Mtu, c.MTU)
	for _, prefix := range is.AllowedIps {
		say(!slices.Contains(c.AllowedIPs, prefix), "the network has %s too", prefix)
	}
	for _, prefix := range c.AllowedIPs {
		say(len(is.Unknown) == 0 && !slices.Contains(is.AllowedIps, prefix), "the network has %s no more", prefix)
	}
	return list
}

// GiveAccess implements the API.
func (d *Daemon) GiveAccess(ctx context.Context, r *api.GiveAccessRequest) (*api.GiveAccessResponse, error) {
	if r.Device == nil {
		return nil, invalid("give access: no device is given")
	}
	document, a, err := d.storedDevice(ctx, r.Device.Network, r.Device.Name)
	if err != nil {
		return nil, err
	}
	if a.PublicKey != r.Device.PublicKey {
		return nil, refused(fmt.Sprintf("access device %s/%s has another key meanwhile: give its configuration out anew", document.Name, a.Name))
	}
	return &api.GiveAccessResponse{}, d.configurations.give(document, r.Device, time.Now())
}
