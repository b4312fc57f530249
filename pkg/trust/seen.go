package trust

import "fmt"

// Seen is the last value that was believed under one key. It is kept for as long
// as the node it belongs to is in the grid, also after the value is gone: a value
// that was taken back must not come again.
type Seen struct {
	Serial  uint64 `json:"serial"`
	Digest  []byte `json:"digest"`
	Removed bool   `json:"removed,omitempty"`
}

// Accept says what was seen once this value is believed. The zero Seen believes
// any. Errors wrap ErrOlder for a replay and ErrConflict for two values under one
// serial; the state stays as it was then.
func (s Seen) Accept(v *Value) (Seen, error) {
	sum := digest("zosnet seen value 1", v.Kind, v.Node, v.Key, string(v.Payload))
	switch {
	case v.Serial < s.Serial, v.Serial == s.Serial && s.Removed:
		return s, fmt.Errorf("value of %s: serial %d after %d: %w", v.Key, v.Serial, s.Serial, ErrOlder)
	case v.Serial == s.Serial && string(sum) != string(s.Digest):
		return s, fmt.Errorf("value of %s: serial %d: %w", v.Key, v.Serial, ErrConflict)
	}
	return Seen{Serial: v.Serial, Digest: sum}, nil
}

// Remove says what was seen once the value is gone: only a newer one may follow.
func (s Seen) Remove() Seen {
	s.Removed = true
	return s
}
