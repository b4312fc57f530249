package maps

import "fmt"

// AllOverlays gives the interfaces to other nodes, by ifindex.
func (m *Maps) AllOverlays() (map[uint32]Overlay, error) {
	return readAll[uint32, Overlay](m.Overlays)
}

// PutOverlay says which network's overlay an interface is. The interface's programs
// drop all packets until then.
func (m *Maps) PutOverlay(ifindex uint32, o Overlay) error {
	if err := m.Overlays.Put(&ifindex, &o); err != nil {
		return fmt.Errorf("write overlay %d: %w%s", ifindex, err, whenFull(m.Overlays, err))
	}
	return nil
}

// DeleteOverlay takes an interface out of the datapath's hands: what comes from there
// is dropped, and what goes there. One that is not there is no error.
func (m *Maps) DeleteOverlay(ifindex uint32) error {
	return deleteAll(m.Overlays, []uint32{ifindex})
}
