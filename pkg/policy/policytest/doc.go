// Package policytest makes random documents, worlds and frames, so that the same
// policy can be asked in different forms: the same seed gives the same ones.
//
// It must not know who compares what: neither the compiled form nor the
// datapath.
package policytest
