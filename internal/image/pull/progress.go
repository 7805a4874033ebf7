package pull

import (
	"io"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"howdah.dev/howdah/internal/image"
)

// reporter adds up what several goroutines move.
type reporter struct {
	blobs []v1.Descriptor // each once, the configuration first
	tell  func(Progress)

	mu  sync.Mutex
	now Progress
}

func newReporter(text string, m *image.Manifest, tell func(Progress)) *reporter {
	r := &reporter{tell: tell, now: Progress{Image: text}}
	if tell == nil {
		r.tell = func(Progress) {}
	}
	seen := map[v1.Hash]bool{}
	for _, d := range m.Blobs() {
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		r.blobs = append(r.blobs, d)
		r.now.Of += d.Size
	}
	r.now.From = len(r.blobs)
	return r
}

func (r *reporter) add(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now.Bytes += n
	r.tell(r.now)
}

func (r *reporter) done() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now.Blobs++
	r.tell(r.now)
}

// watch reports what is read.
func (r *reporter) watch(in io.Reader) io.Reader { return &watched{in, r} }

type watched struct {
	in io.Reader
	r  *reporter
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.in.Read(p)
	if n > 0 {
		w.r.add(int64(n))
	}
	return n, err
}
