package worker

import (
	"context"
	"sync"
)

// turns let each owner do a few things at a time. Nobody waits for what is another's.
type turns struct {
	most int
	mu   sync.Mutex
	of   map[string]*turn
}

// turn is one owner's, there while somebody has or wants a place.
type turn struct {
	users  int
	places chan struct{}
}

func newTurns(most int) *turns { return &turns{most: most, of: map[string]*turn{}} }

// take waits for a place, which done gives back.
func (t *turns) take(ctx context.Context, owner string) (done func(), err error) {
	t.mu.Lock()
	own := t.of[owner]
	if own == nil {
		own = &turn{places: make(chan struct{}, t.most)}
		t.of[owner] = own
	}
	own.users++
	t.mu.Unlock()
	select {
	case own.places <- struct{}{}:
		return func() {
			<-own.places
			t.leave(owner)
		}, nil
	case <-ctx.Done():
		t.leave(owner)
		return nil, context.Cause(ctx)
	}
}

func (t *turns) leave(owner string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of[owner].users--; t.of[owner].users == 0 {
		delete(t.of, owner)
	}
}
