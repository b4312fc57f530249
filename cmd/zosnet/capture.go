package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/zosnet/zosnet/pkg/api"
	"github.com/zosnet/zosnet/pkg/telemetry"
)

// capture is a pcapng file of the events' frames.
type capture struct {
	file *os.File
	to   *telemetry.Capture
}

func newCapture(path string) (*capture, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("make the capture file: %w", err)
	}
	to, err := telemetry.NewCapture(file)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &capture{file, to}, nil
}

func (c *capture) write(e *api.Event) error {
	event := telemetry.Event{
		Kind: telemetry.Kind(e.Kind), Reason: e.Reason, Network: e.Network, Rule: e.Rule, Hook: e.Hook,
		Interface: e.Interface, Length: e.Length, Frame: e.Frame,
	}
	event.Time, _ = time.Parse(time.RFC3339Nano, e.Time)

	return c.to.Write(event)
}

func (c *capture) Close() error { return c.file.Close() }
