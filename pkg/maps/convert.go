package maps

import "fmt"

// conversion rewrites keys and values of an older layout: fields are found by
// their names, and what the older layout does not have is zero.
type conversion struct {
	key, value []move
	keySize    uint32 // bytes, of the newer layout
	valueSize  uint32
}

// move copies one field.
type move struct{ from, to, size uint32 }

// conversionOf gives how entries of one layout become entries of another. A key
// must keep every field, or two entries could become one; a value must keep at
// least one, at its size.
func conversionOf(from, to layout) (conversion, error) {
	key, same := movesOf(from.key, to.key)
	if same != len(from.key) || same != len(to.key) {
		return conversion{}, fmt.Errorf("keys differ in more than the order of their fields")
	}
	value, same := movesOf(from.value, to.value)
	if same == 0 {
		return conversion{}, fmt.Errorf("values have no field in common")
	}
	return conversion{key: key, value: value, keySize: to.keySize, valueSize: to.valueSize}, nil
}

// movesOf pairs fields of the same path and size; same counts them.
func movesOf(from, to []field) (moves []move, same int) {
	old := make(map[string]field, len(from))
	for _, f := range from {
		old[f.path] = f
	}
	for _, f := range to {
		if o, ok := old[f.path]; ok && o.size == f.size {
			moves = append(moves, move{o.offset, f.offset, f.size})
		}
	}
	return moves, len(moves)
}

// apply gives the newer form of one entry.
func (c conversion) apply(key, value []byte) (newKey, newValue []byte) {
	return moved(c.key, key, c.keySize), moved(c.value, value, c.valueSize)
}

func moved(moves []move, from []byte, size uint32) []byte {
	to := make([]byte, size)
	for _, m := range moves {
		copy(to[m.to:m.to+m.size], from[m.from:m.from+m.size])
	}
	return to
}
