package guest

import (
	"os"
	"testing"
	"time"
)

// A frame that goes in at one end, by any queue, comes out at the other.
func TestCable(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root, which CI has")
		}
		t.Skip("skipped: needs root (run it with sudo)")
	}
	const queues = 2
	c, err := newCable(queues)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	const (
		header  = 10 // struct virtio_net_hdr: no offloads
		payload = "\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x88\xb5zosnet, a frame of at least sixty bytes in all"
		marked  = header + len(payload) // the byte that says which queue it was
	)
	heard := make(chan byte)
	over := make(chan struct{})
	defer close(over)
	for _, out := range c.ends[1] {
		go func() {
			for got := make([]byte, 2048); ; {
				n, err := out.Read(got)
				if err != nil {
					return
				}
				if n > marked && string(got[header:marked]) == payload {
					select {
					case heard <- got[marked]:
					case <-over:
						return
					}
				}
			}
		}()
	}
	for queue, in := range c.ends[0] {
		frame := append(append(make([]byte, header), payload...), byte(queue))
		for deadline, arrived := time.Now().Add(10*time.Second), false; !arrived; {
			if time.Now().After(deadline) {
				t.Fatalf("nothing of queue %d came through", queue)
			}
			if _, err := in.Write(frame); err != nil {
				t.Fatal(err)
			}
			select { // the bridge learns of a port's carrier a moment after it is up
			case got := <-heard:
				arrived = got == byte(queue)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}
