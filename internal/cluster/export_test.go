package cluster

import "context"

// Expire looks once at each cluster with a time to live.
func (m *Manager) Expire(ctx context.Context) error {
	_, err := m.expire(ctx)
	return err
}
