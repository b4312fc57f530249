package daemon

import (
	"context"
	"time"
)

// sweepEvery is how often expired flows give their memory back.
const sweepEvery = time.Minute

// sweepFlows takes expired flows out of the datapath's table.
func (d *Daemon) sweepFlows(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if _, err := d.datapath.SweepFlows(); err != nil {
				d.log.Error("sweep expired flows; their memory stays in use until new flows take it", "error", err)
			}
		}
	}
}
