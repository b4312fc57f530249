package maps

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// typeIDs are a map's key and value types in its BTF; 0: none.
type typeIDs struct{ key, value btf.TypeID }

// typeIDsOf asks the kernel for what ebpf.MapInfo leaves out: the last two fields
// of struct bpf_map_info up to Linux 4.18 (kernel commit 9b2cf328b2ec).
func typeIDsOf(m *ebpf.Map) (typeIDs, error) {
	var info struct {
		kind, id, keySize, valueSize, maxEntries, flags uint32
		name                                            [16]byte
		ifindex, vmlinuxValueType                       uint32
		netnsDev, netnsIno                              uint64
		btf, keyType, valueType, _                      uint32
	}
	attr := struct {
		fd, size uint32
		info     uint64
	}{uint32(m.FD()), uint32(unsafe.Sizeof(info)), uint64(uintptr(unsafe.Pointer(&info)))}
	_, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_OBJ_GET_INFO_BY_FD,
		uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	runtime.KeepAlive(&info)
	if errno != 0 {
		return typeIDs{}, fmt.Errorf("read types of map %s: %w", m, errno)
	}
	return typeIDs{btf.TypeID(info.keyType), btf.TypeID(info.valueType)}, nil
}
