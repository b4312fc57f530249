package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/zosnet/zosnet/pkg/apply"
)

// settle waits until what is stored now is enforced. It gives what went wrong
// with the objects that concern the caller, and with others as warnings.
func (d *Daemon) settle(ctx context.Context, concerns func(object string) bool) (others []string, ours error) {
	err := d.enforcer.wait(ctx, d.enforcer.request())
	if err == nil || ctx.Err() != nil {
		return nil, err
	}
	var list []error
	for _, e := range parts(err) {
		var object *apply.ObjectError
		if errors.As(e, &object) && !concerns(object.Object) {
			others = append(others, "elsewhere on this node: "+e.Error())
		} else {
			list = append(list, e)
		}
	}
	return others, errors.Join(list...)
}

// stored says of an error that it came after the registry was written.
func stored(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("it is stored, but not enforced yet: %w\nthe daemon keeps trying; zosnet status tells how it goes", err)
}

// parts gives the errors that errors.Join has put together.
func parts(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// failedNetworks gives the networks of which an apply did not bring everything into
// force, but for workloads' interfaces, and tells whether there is more that it did not:
// what one tenant's network wants is no reason for another's to wait.
func failedNetworks(err error) (failed map[string]bool, more bool) {
	failed = map[string]bool{}
	if err == nil {
		return failed, false
	}
	for _, e := range parts(err) {
		var object *apply.ObjectError
		if !errors.As(e, &object) {
			return failed, true
		}
		if strings.HasPrefix(object.Object, "workload ") {
			continue
		}
		network := networkOf(object.Object)
		if network == "" {
			return failed, true
		}
		failed[network] = true
	}
	return failed, false
}

// onlyWorkloads tells whether an apply brought everything into force but,
// perhaps, some workloads' interfaces.
func onlyWorkloads(err error) bool {
	failed, more := failedNetworks(err)
	return !more && len(failed) == 0
}

// networkOf gives the network that an object such as "network acme", "entrance acme",
// "overlay acme" or "workload acme/web-1" belongs to, or "".
func networkOf(object string) string {
	kind, name, _ := strings.Cut(object, " ")
	if kind != "network" && kind != "workload" && kind != "entrance" && kind != "overlay" {
		return ""
	}
	network, _, _ := strings.Cut(name, "/")
	return network
}
