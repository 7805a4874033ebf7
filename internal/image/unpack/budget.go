package unpack

import (
	"sync"

	"howdah.dev/howdah/internal/untrusted"
)

// maxLayers is what engines put on top of each other; an overlay takes few more.
const maxLayers = 128

// budget is what the layers of one image may still unpack to, those included that are
// there. Layers that are unpacked at the same time see the same room, so it may be
// exceeded, by as much again for each, before spend says so.
type budget struct {
	mu    sync.Mutex
	left  treeLimits
	spare int64 // bytes beyond untrusted.MaxRatio
}

func (u *Unpacker) budget() *budget {
	return &budget{left: treeLimits{u.cfg.MaxBytes, u.cfg.MaxEntries}, spare: untrusted.MinAllowed}
}

// room bounds a layer with a compressed size.
func (b *budget) room(size int64) treeLimits {
	b.mu.Lock()
	defer b.mu.Unlock()
	return treeLimits{min(b.left.bytes, untrusted.MaxRatio*size+b.spare), b.left.entries}
}

// spend takes a layer off.
func (b *budget) spend(info *layerInfo, size int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left.bytes -= info.Bytes
	b.left.entries -= info.Entries
	b.spare -= max(0, info.Bytes-untrusted.MaxRatio*size)
	if b.left.bytes < 0 || b.left.entries < 0 || b.spare < 0 {
		return refuse("all layers together unpack to more than is allowed for their size")
	}
	return nil
}
