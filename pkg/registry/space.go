package registry

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// How much room, in bytes, the file system of the state directory must have.
// etcd ends its process when its log or database cannot be written, so we stop
// asking it to while there is still some left.
const (
	spaceToCreate = 40 << 20 // two log segments, the first database pages, and some
	spaceToOpen   = 12 << 20 // the next log segment is laid out in advance
	spaceToAdd    = 16 << 20 // a change that adds something
	spaceToRemove = 4 << 20  // a change that only takes away, which may be what frees space
)

// wantSpace gives a *NoSpaceError when dir's file system has less room.
func wantSpace(dir string, need uint64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("measure the free space of %s: %w", dir, err)
	}
	if free := st.Bavail * uint64(st.Bsize); free < need {
		return &NoSpaceError{Dir: dir, Free: free, Need: need}
	}
	return nil
}
