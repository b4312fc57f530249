// Package vm holds the tests that need a kernel of their own: links that a
// build machine's kernel may lack, native XDP on virtio_net, a reboot, an
// interface that is plugged in, two processors and two queues, and both ways
// to attach.
//
// They change the machine's own interfaces, so every one of them has the build
// tag vm, and `go test ./...` neither runs nor skips them: tools/vmtest
// compiles them and runs them as root in a guest (`make vmtest RUN=test/vm`).
// The guest has six network cards, eth0 cabled to eth1 and eth2 to eth3,
// and with several queues each eth4 to eth5. The
// package drives zosnet by its command line, and pkg/loader where the order of
// attaching is what a test is about; it must not know how QEMU is called.
package vm
