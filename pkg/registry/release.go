package registry

import "context"

// DeleteBindings removes learned addresses, all or none. One that is not there, or
// is another workload's by now, is no error.
func (s *Store) DeleteBindings(ctx context.Context, bindings []Binding) error {
	_, err := s.change(ctx, func(c *change) error {
		for _, b := range bindings {
			var stored bindingValue
			revision, err := c.get(bindingKey(b), &stored)
			if err != nil {
				return err
			}
			if revision != 0 {
				c.delete(bindingKey(b))
			}
		}
		return nil
	})
	return err
}
