package cluster

import "context"

// Scope says for whom something is asked.
type Scope struct {
	Project string // whose clusters count; "" for all, which the owner and Howdah itself see
	By      string // who asks, as people know them
}

type scopeKey struct{}

// WithScope returns a context in which everything is asked for somebody.
func WithScope(ctx context.Context, s Scope) context.Context {
	return context.WithValue(ctx, scopeKey{}, s)
}

// ScopeOf returns for whom something is asked; Howdah itself where nobody is named.
func ScopeOf(ctx context.Context) Scope {
	s, _ := ctx.Value(scopeKey{}).(Scope)
	if s.By == "" {
		s.By = byItself
	}
	return s
}

// byItself names Howdah where nobody else asked.
const byItself = "howdah"
