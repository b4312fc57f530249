package underlay

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// How long, how often and how far a probe is tried.
const (
	answerTime = time.Second            // that an answer may take
	hopTime    = 500 * time.Millisecond // that a router on the way may take
	tries      = 3
	hopTries   = 2 // routers limit how many errors they send
	mostHops   = 16
	silentHops = 3 // in a row, after which it goes no further
	fullHops   = 64
)

// Route says what should lead here.
type Route struct {
	Prefix  netip.Prefix // of at most 64 bits; in it no address answers
	Source  netip.Addr   // of this machine, that the upstream sends to
	Uplinks []string     // by which packets may come
}

// Verify sends packets into a prefix by the uplink's router, and says whether they come
// back, and where they go else. It takes seconds. The error says that it could not
// try.
func Verify(ctx context.Context, r Route) (Result, error) {
	result := Result{Source: r.Source, Target: randomIn(r.Prefix)}
	way, err := findWay(ctx)
	if finding, found := errors.AsType[*noWay](err); found {
		result.Finding, result.Gateway, result.Uplink = finding.finding, finding.gateway, finding.uplink
		return result, nil
	}
	if err != nil {
		return result, err
	}
	result.Gateway, result.Uplink = way.gateway, way.uplink
	if !slices.Contains(r.Uplinks, way.uplink) {
		result.Finding = OtherUplink
		return result, nil
	}
	v := verification{way: way, target: result.Target, source: r.Source}
	if err := v.listen(r.Uplinks); err != nil {
		return result, err
	}
	defer v.close()
	return result, v.run(ctx, r.Prefix, &result)
}

// verification is one in progress.
type verification struct {
	way      way
	target   netip.Addr
	source   netip.Addr
	sequence uint16
	id       uint16
	sockets
}

func (v *verification) run(ctx context.Context, space netip.Prefix, result *Result) error {
	var id [2]byte
	_, _ = rand.Read(id[:]) // it never fails
	v.id = uint16(id[0])<<8 | uint16(id[1])
	seen, err := v.repeat(ctx, probe{source: v.source, hops: fullHops, wait: answerTime}, tries)
	if err != nil {
		return err
	}
	switch {
	case seen.kind == returned && seen.uplink != v.way.uplink:
		result.Finding, result.Uplink = OtherUplink, seen.uplink
		return nil
	case seen.kind == returned:
		return v.sendAsTenant(ctx, space, result)
	case seen.kind == solicited:
		result.Finding, result.By = OnLink, seen.from
		return nil
	case seen.kind == refused:
		result.Finding, result.By = findingOf(seen), seen.from
	}
	if err := v.trace(ctx, result); err != nil {
		return err
	}
	if result.Finding == "" {
		result.Finding = Lost
	}
	return nil
}

// sendAsTenant tries whether what is sent from the prefix gets through as well.
func (v *verification) sendAsTenant(ctx context.Context, space netip.Prefix, result *Result) error {
	seen, err := v.repeat(ctx, probe{source: randomIn(space), hops: fullHops, wait: answerTime, tenant: true}, tries)
	switch {
	case err != nil:
		return err
	case seen.kind == returned:
		result.Finding = Routed
	default:
		result.Finding, result.By = SourceFiltered, seen.from
	}
	return nil
}

// trace tells which routers a probe passes, and whether they send it round.
func (v *verification) trace(ctx context.Context, result *Result) error {
	silent := 0
	for hops := 1; hops <= mostHops && silent < silentHops; hops++ {
		seen, err := v.repeat(ctx, probe{source: v.source, hops: hops, wait: hopTime}, hopTries)
		if err != nil {
			return err
		}
		if seen.kind == refused && !seen.expired { // also of an earlier probe: neighbours are looked for for seconds
			result.Finding, result.By = findingOf(seen), seen.from
			break
		}
		if seen.kind != refused {
			silent++
			result.Hops = append(result.Hops, netip.Addr{})
			continue
		}
		silent = 0
		round := slices.Contains(result.Hops, seen.from)
		result.Hops = append(result.Hops, seen.from)
		if round {
			result.Finding, result.By = Loop, seen.from
			break
		}
	}
	for n := len(result.Hops); n > 0 && !result.Hops[n-1].IsValid(); n-- {
		result.Hops = result.Hops[:n-1]
	}
	return nil
}

// probe is a packet to be sent.
type probe struct {
	source netip.Addr
	hops   int
	wait   time.Duration
	tenant bool // sent as a tenant's is: past the guard of what the host says
}

// repeat sends a probe until something is seen of it.
func (v *verification) repeat(ctx context.Context, p probe, times int) (sighting, error) {
	for range times {
		v.sequence++
		if err := v.send(v.way, echoRequest(p.source, v.target, p.hops, v.id, v.sequence), p.tenant); err != nil {
			return sighting{}, err
		}
		timeout := time.NewTimer(p.wait)
		for waiting := true; waiting; {
			select {
			case packet := <-v.packets:
				if seen := v.look(packet, p); seen.kind != nothing {
					timeout.Stop()
					return seen, nil
				}
			case <-timeout.C:
				waiting = false
			case <-ctx.Done():
				timeout.Stop()
				return sighting{}, fmt.Errorf("wait for what was sent to %v: %w", v.target, ctx.Err())
			}
		}
	}
	return sighting{}, nil
}

// randomIn gives an address in the last /64 of a prefix that nobody has but by chance.
func randomIn(p netip.Prefix) netip.Addr {
	raw := p.Masked().Addr().As16()
	for bit := p.Bits(); bit < 64; bit++ {
		raw[bit/8] |= 0x80 >> (bit % 8)
	}
	_, _ = rand.Read(raw[8:]) // it never fails
	return netip.AddrFrom16(raw)
}
