package maps

import "golang.org/x/sys/unix"

// membarrierGlobal is MEMBARRIER_CMD_GLOBAL of linux/membarrier.h.
const membarrierGlobal = 1

// waitForReaders returns when every program that was running has ended: the
// kernel answers this membarrier after an RCU grace period. With one CPU there is
// nothing to wait for, since programs run to their end before we do.
func waitForReaders() {
	_, _, _ = unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0)
}
