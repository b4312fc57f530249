package policy

import "encoding/binary"

// classes numbers distinct sets of entries in the order in which they appear.
type classes struct {
	numbers map[string]uint32
	sets    []Bits
	scratch []byte
}

func newClasses() *classes { return &classes{numbers: map[string]uint32{}} }

// number gives the class of a set, and keeps a copy of it where it is new.
func (c *classes) number(set Bits) uint32 {
	c.scratch = c.scratch[:0]
	for _, word := range set {
		c.scratch = binary.LittleEndian.AppendUint64(c.scratch, word)
	}
	if n, known := c.numbers[string(c.scratch)]; known {
		return n
	}
	n := uint32(len(c.sets))
	c.numbers[string(c.scratch)] = n
	c.sets = append(c.sets, append(Bits(nil), set...))
	return n
}
