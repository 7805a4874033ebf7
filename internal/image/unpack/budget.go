package unpack

import "sync"

// The layers of an image may unpack to maxRatio times their compressed size, and
// together to minAllowed bytes more: a few kilobytes must not fill a disk.
const (
	maxRatio   = 200
	minAllowed = 256 << 20
	// maxLayers is what engines put on top of each other; an overlay takes few more.
	maxLayers = 128
)

// budget is what the layers of one image may still unpack to, those included that are
// there. Layers that are unpacked at the same time see the same room, so it may be
// exceeded, by as much again for each, before spend says so.
type budget struct {
	mu    sync.Mutex
	left  treeLimits
	spare int64 // bytes beyond maxRatio
}

func (u *Unpacker) budget() *budget {
	return &budget{left: treeLimits{u.cfg.MaxBytes, u.cfg.MaxEntries}, spare: minAllowed}
}

// room bounds a layer with a compressed size.
func (b *budget) room(size int64) treeLimits {
	b.mu.Lock()
	defer b.mu.Unlock()
	return treeLimits{min(b.left.bytes, maxRatio*size+b.spare), b.left.entries}
}

// spend takes a layer off.
func (b *budget) spend(info *layerInfo, size int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left.bytes -= info.Bytes
	b.left.entries -= info.Entries
	b.spare -= max(0, info.Bytes-maxRatio*size)
	if b.left.bytes < 0 || b.left.entries < 0 || b.spare < 0 {
		return refuse("all layers together unpack to more than is allowed for their size")
	}
	return nil
}
