package artifact

import "sync"

// tracker counts, set by set, which blobs have arrived.
type tracker struct {
	mu     sync.Mutex
	report func(Progress)
	sets   []*setProgress
}

type setProgress struct {
	Progress
	open map[string]int64 // digest → size, of what is not there yet
}

// newTracker starts with what the cache holds and reports it. report may be nil.
func newTracker(locks []*Lock, c *Cache, report func(Progress)) *tracker {
	t := &tracker{report: report}
	for _, l := range locks {
		s := &setProgress{Progress: Progress{Set: l.Name}, open: map[string]int64{}}
		for _, e := range l.Blobs() {
			s.TotalFiles++
			s.TotalBytes += e.Size
			if c.has(e) {
				s.DoneFiles++
				s.DoneBytes += e.Size
			} else {
				s.open[e.SHA256] = e.Size
			}
		}
		t.sets = append(t.sets, s)
		t.tell(s)
	}
	return t
}

func (t *tracker) tell(s *setProgress) {
	if t.report != nil {
		t.report(s.Progress)
	}
}

// done counts a blob in every set that has it, once.
func (t *tracker) done(e Entry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.sets {
		if size, ok := s.open[e.SHA256]; ok {
			delete(s.open, e.SHA256)
			s.DoneFiles++
			s.DoneBytes += size
			t.tell(s)
		}
	}
}
