#!/bin/sh
# Makes the Go code of the .proto files again. Needs protoc (protobuf-compiler); its
# plugins are pinned in tools/proto/go.mod.
set -eu
cd "$(dirname "$0")"
mod=../../tools/proto/go.mod
protoc -I . \
	--plugin=protoc-gen-go="$(go tool -n -modfile=$mod protoc-gen-go)" \
	--plugin=protoc-gen-go-grpc="$(go tool -n -modfile=$mod protoc-gen-go-grpc)" \
	--go_out=. --go_opt=paths=source_relative \
	--go-grpc_out=. --go-grpc_opt=paths=source_relative,require_unimplemented_servers=false \
	./*.proto
# The version of protoc is no part of the interface; without it any protoc gives
# the same files.
sed -i -E '/^\/\/ (- )?[[:space:]]*(protoc|protoc-gen-go|protoc-gen-go-grpc) +\(?v?[0-9]/d; /^\/\/ versions:$/d' ./*.pb.go
