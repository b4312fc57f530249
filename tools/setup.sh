#!/bin/bash
# Installs what a make target needs and this machine lacks, from Debian's packages.
set -euo pipefail

packages() {
	case $1 in
	run) echo iproute2 nftables nmap curl iperf3 iputils-ping tcpdump bpftool util-linux systemd wireguard-tools ;;
	bench) echo iproute2 nftables ethtool ;;
	vmtest) echo qemu-system-x86 e2fsprogs ;;
	generate) echo clang-16 llvm-16 libbpf-dev linux-libc-dev protobuf-compiler ;;
	clang) echo qemu-system-x86 clang-14 llvm-14 clang-16 llvm-16 clang-19 llvm-19 ;;
	lint) echo clang-format-16 shellcheck ;;
	esac
}

missing=()
for package in $(packages "$1"); do
	dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
	echo "setup: missing ${missing[*]}: install them, or run this as root on Debian" >&2
	exit 1
fi
echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null 2>&1 ||
	{ apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; }
