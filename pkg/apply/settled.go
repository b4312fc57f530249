package apply

import (
	"reflect"

	"github.com/zosnet/zosnet/pkg/plan"
)

// settled is what was made of workloads and overlays with nothing left undone. Run
// leaves it to its turn to look into what of it is hidden in namespaces and devices.
type settled struct {
	workloads map[string]plan.Workload // by object
	overlays  map[string]plan.Overlay  // by interface
}

func newSettled() settled {
	return settled{map[string]plan.Workload{}, map[string]plan.Overlay{}}
}

// overlay tells whether an overlay was made as it is planned now.
func (s settled) overlay(o plan.Overlay) bool {
	have, made := s.overlays[o.Interface]
	return made && reflect.DeepEqual(have, o)
}

// keep forgets what is not planned any more.
func (s settled) keep(want plan.State) {
	workloads, overlays := map[string]bool{}, map[string]bool{}
	for _, w := range want.Workloads {
		workloads[workloadObject(w.Network, w.Name)] = true
	}
	for _, o := range want.Overlays {
		overlays[o.Interface] = true
	}
	for object := range s.workloads {
		if !workloads[object] {
			delete(s.workloads, object)
		}
	}
	for name := range s.overlays {
		if !overlays[name] {
			delete(s.overlays, name)
		}
	}
}
