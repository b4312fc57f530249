module github.com/zosnet/zosnet/tools/vmtest

go 1.26.0

require (
	github.com/cavaliergopher/cpio v1.0.1
	github.com/hugelgupf/vmtest v0.0.0-20240307030256-5d9f3d34a58d
	github.com/ulikunitz/xz v0.5.17
	golang.org/x/sync v0.6.0
	golang.org/x/sys v0.49.0
	golang.org/x/term v0.47.0
)

require (
	github.com/Netflix/go-expect v0.0.0-20220104043353-73e0943537d2 // indirect
	github.com/creack/pty v1.1.21 // indirect
	github.com/davecgh/go-spew v1.1.1 // indirect
	github.com/gopacket/gopacket v1.7.7 // indirect
	gopkg.in/yaml.v3 v3.0.0 // indirect
)
