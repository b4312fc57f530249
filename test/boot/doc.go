// Package boot holds the tests of a machine from its start: whether zosnet
// takes the kernel at all, and what a stranger sees while the machine boots,
// boots again with its state on a disk, and gets another network card.
//
// They need a machine of their own, so they have the build tag vm: tools/vmtest
// compiles them and runs them as process 1's children in a guest. The stranger
// is tools/vmtest itself, at the other end of the guest's cable; what he sees is
// in its report. The package drives zosnet by its command line alone.
package boot
