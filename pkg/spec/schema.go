package spec

import _ "embed"

var (
	//go:embed schema/node.json
	nodeSchema []byte
	//go:embed schema/network.json
	networkSchema []byte
)

// NodeSchema gives the JSON Schema (2020-12) of node.yaml. What a schema cannot
// say, such as that prefixes overlap, only DecodeNode refuses.
func NodeSchema() []byte { return append([]byte(nil), nodeSchema...) }

// NetworkSchema gives the JSON Schema (2020-12) of NETWORK.yaml. What a schema
// cannot say, such as that a rule names no service, only DecodeNetwork refuses.
func NetworkSchema() []byte { return append([]byte(nil), networkSchema...) }
