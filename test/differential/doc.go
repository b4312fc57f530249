// Package differential asks the datapath and the oracle the same questions:
// random worlds and random frames go through the real programs by
// BPF_PROG_TEST_RUN and through policy.Evaluate, and one difference fails.
//
// ZOSNET_DIFF_CASES sets how many frames (default 1,000,000), ZOSNET_SEED what
// they follow from (default: the time); both are printed. It must not know how
// either side comes to its verdict.
package differential
