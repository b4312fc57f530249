package gridstore

// Carry says which networks this node carries. Of those it hears until it carries them
// no more, whatever the registry says of whom they name: that nobody signs.
func (c *Client) Carry(networks []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	carried := make(map[string]bool, len(networks))
	for _, network := range networks {
		carried[network] = true
	}
	if c.state.carry(carried) {
		notify(c.again)
	}
}

// carry notes which networks this node carries, and tells whether it has not heard the
// document of one of them so far.
func (s *state) carry(networks map[string]bool) (unheard bool) {
	for network := range networks {
		if !s.scope.carried[network] {
			s.dirty[group{true, network}] = true
			unheard = unheard || s.scope.reasons[Key{Kind: KindDocument, Network: network}.String()] == 0
		}
	}
	for network := range s.scope.carried {
		if !networks[network] {
			s.dirty[group{true, network}] = true
		}
	}
	s.scope.carried = networks
	return unheard
}
