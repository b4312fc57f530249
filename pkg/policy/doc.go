// Package policy holds what a network's rules mean, twice on purpose: Compile
// turns a document into the bit vectors that the datapath reads, and Evaluate
// and Judge walk the document itself, plainly, as the oracle that the datapath is
// tested against. Trace explains a verdict with the entry that decided.
//
// It must not know maps, programs or the kernel, nor where documents come from:
// values in, values out.
package policy
