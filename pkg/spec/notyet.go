package spec

import (
	"fmt"
	"strconv"
)

const notYet = " is not yet carried by this version; remove it"

// NotYet refuses what is valid in a NETWORK.yaml but has nothing behind it
// yet, so that it is never silently ignored. The error is of type Errors.
func (n *Network) NotYet() error {
	var e Errors
	for i, expose := range n.Expose {
		if expose.IPv4 != "" {
			e = append(e, Problem{Pos: expose.Pos, Key: fmt.Sprintf("expose[%d].ipv4", i), Found: "IPv4 exposure" + notYet})
		}
		if len(expose.SNI) > 0 {
			e = append(e, Problem{Pos: expose.Pos, Key: fmt.Sprintf("expose[%d].sni", i), Found: "exposure by server name" + notYet})
		}
	}
	return e.asError()
}

// NotYet refuses what is valid in a node.yaml but has nothing behind it yet.
// The error is of type Errors.
func (n *Node) NotYet() error {
	var e Errors
	if n.Underlay != UnderlayAuto && n.Underlay != UnderlayDCDual {
		e = append(e, Problem{Pos: n.Where["underlay"], Key: "underlay", Found: strconv.Quote(string(n.Underlay)) + notYet})
	}
	if n.Exit != "" {
		e = append(e, Problem{Pos: n.Where["exit"], Key: "exit", Found: "an exit" + notYet})
	}
	if n.ExitPoint != nil {
		e = append(e, Problem{Pos: n.ExitPoint.Pos, Key: "exitPoint", Found: "serving as an exit" + notYet})
	}
	return e.asError()
}
