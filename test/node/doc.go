// Package node holds the end-to-end tests of one node: the real daemon, real
// workloads and real traffic, in a lab of network namespaces. Each file is one
// promise of the product and tries to break it.
//
// The tests know zosnet by its command line, its metrics and its pins only.
package node
