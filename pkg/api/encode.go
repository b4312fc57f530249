package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// JSON gives a message as one line of JSON: fields in the order of the proto
// file, under their JSON names, those with the value zero too. Other than the
// proto mapping of JSON, 64-bit numbers are numbers. Fields that are `optional`
// are left out where they are not set.
func JSON(m proto.Message) ([]byte, error) {
	n := messageNode(m.ProtoReflect())
	var out bytes.Buffer
	err := writeJSON(&out, n)
	return out.Bytes(), err
}

// YAML gives a message as JSON does, as a YAML document.
func YAML(m proto.Message) ([]byte, error) {
	return yaml.Dump(messageNode(m.ProtoReflect()), yaml.WithIndent(2))
}

func messageNode(m protoreflect.Message) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.HasPresence() && !m.Has(f) {
			continue
		}
		n.Content = append(n.Content, textNode(f.JSONName()), fieldNode(f, m.Get(f)))
	}
	return n
}

func fieldNode(f protoreflect.FieldDescriptor, v protoreflect.Value) *yaml.Node {
	switch {
	case f.IsList():
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for i := range v.List().Len() {
			n.Content = append(n.Content, valueNode(f, v.List().Get(i)))
		}
		return n
	case f.IsMap():
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, key := range sortedKeys(v.Map()) {
			n.Content = append(n.Content, textNode(key.String()), valueNode(f.MapValue(), v.Map().Get(key)))
		}
		return n
	}
	return valueNode(f, v)
}

func valueNode(f protoreflect.FieldDescriptor, v protoreflect.Value) *yaml.Node {
	switch f.Kind() {
	case protoreflect.MessageKind:
		return messageNode(v.Message())
	case protoreflect.StringKind:
		return textNode(v.String())
	case protoreflect.BytesKind:
		return textNode(base64.StdEncoding.EncodeToString(v.Bytes()))
	case protoreflect.BoolKind:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v.Bool())}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: v.String()} // the interface has no floats
}

// textNode lets YAML choose the quotes: "true" and "1" need them.
func textNode(text string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode}
	n.SetString(text)
	n.Tag = "!!str"
	return n
}

func writeJSON(out *bytes.Buffer, n *yaml.Node) error {
	switch n.Kind {
	case yaml.MappingNode:
		return writeAll(out, '{', '}', n.Content, func(i int) byte {
			if i%2 == 1 {
				return ':'
			}
			return ','
		})
	case yaml.SequenceNode:
		return writeAll(out, '[', ']', n.Content, func(int) byte { return ',' })
	}
	if n.Tag != "!!str" {
		out.WriteString(n.Value)
		return nil
	}
	text, err := json.Marshal(n.Value)
	out.Write(text)
	return err
}

// writeAll writes a list of values; separator tells what stands before each.
func writeAll(out *bytes.Buffer, begin, end byte, content []*yaml.Node, separator func(int) byte) error {
	out.WriteByte(begin)
	for i, n := range content {
		if i > 0 {
			out.WriteByte(separator(i))
		}
		if err := writeJSON(out, n); err != nil {
			return err
		}
	}
	out.WriteByte(end)
	return nil
}

func sortedKeys(m protoreflect.Map) []protoreflect.MapKey {
	keys := make([]protoreflect.MapKey, 0, m.Len())
	for key := range m.Range {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b protoreflect.MapKey) int { return strings.Compare(a.String(), b.String()) })
	return keys
}
