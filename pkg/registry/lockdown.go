package registry

import "context"

// PutLockdownTrial stores the trial that is pending or, with a zero Deadline,
// confirmed. nil removes it, so that node.yaml's lockdown counts again.
func (s *Store) PutLockdownTrial(ctx context.Context, t *LockdownTrial) error {
	_, err := s.change(ctx, func(c *change) error {
		if t == nil {
			c.delete(lockdownTrialKey)
			return nil
		}
		return c.put(lockdownTrialKey, t.value())
	})
	return err
}
