package maps

import (
	"fmt"
	"reflect"
)

// assign fills the generated struct of maps from their names.
func (m *Maps) assign() error {
	fields := reflect.ValueOf(&m.bpfMaps).Elem()
	for i := range fields.NumField() {
		name := fields.Type().Field(i).Tag.Get("ebpf")
		each, ok := m.all[name]
		if !ok {
			return fmt.Errorf("open maps: no map %s, or it is not pinned by name", name)
		}
		fields.Field(i).Set(reflect.ValueOf(each))
	}
	return nil
}
