// Package datapath follows single packets through the programs as they run in
// the kernel (BPF_PROG_TEST_RUN): each test is the life of one flow, or one thing
// that a hostile neighbour tries, step by step, with the verdict of each step.
//
// It has no code outside of its tests. What random packets do is test/differential's.
package datapath
