package trust

import (
	"fmt"
	"log/slog"
)

// sealed is embedded in what holds a secret, as the text that stands for it.
// Format covers every verb of fmt, also those that go past String.
type sealed string

func (s sealed) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "(%s)", string(s)) }

// String gives what it is, never what it holds.
func (s sealed) String() string { return "(" + string(s) + ")" }

// LogValue is what log/slog prints.
func (s sealed) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is what encoding/json and others write.
func (s sealed) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
