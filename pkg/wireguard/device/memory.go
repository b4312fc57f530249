package device

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/zosnet/zosnet/pkg/wireguard"
)

// memory is the endpoints that peers were last configured with, a file a device: a
// device itself only knows where a peer was last heard from.
type memory struct{ dir string }

func (m memory) path(name string) string { return filepath.Join(m.dir, name+".endpoints.json") }

// load gives none for a device without a file.
func (m memory) load(name string) (map[wireguard.PublicKey]netip.AddrPort, error) {
	endpoints := map[wireguard.PublicKey]netip.AddrPort{}
	text, err := os.ReadFile(m.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return endpoints, nil
	}
	if err != nil {
		return endpoints, err
	}
	if err := json.Unmarshal(text, &endpoints); err != nil {
		return nil, fmt.Errorf("%s: %w", m.path(name), err)
	}
	return endpoints, nil
}

// store keeps the endpoints of a device, where they are others than before.
func (m memory) store(d wireguard.Device, before map[wireguard.PublicKey]netip.AddrPort) error {
	endpoints := map[wireguard.PublicKey]netip.AddrPort{}
	for _, p := range d.Peers {
		if p.Endpoint.IsValid() {
			endpoints[p.PublicKey] = p.Endpoint
		}
	}
	if maps.Equal(endpoints, before) {
		return nil
	}
	text, err := json.Marshal(endpoints)
	if err != nil {
		return err
	}
	whole := m.path(d.Name) + ".new"
	if err := os.WriteFile(whole, text, 0o600); err != nil {
		return fmt.Errorf("keep the endpoints of peers: %w", err)
	}
	return os.Rename(whole, m.path(d.Name))
}

func (m memory) forget(name string) error {
	if err := os.Remove(m.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
