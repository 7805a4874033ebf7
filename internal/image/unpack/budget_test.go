package unpack

import "testing"

// TestBudget: small layers share what they may have beyond their size, so that many of
// them are no way around it.
func TestBudget(t *testing.T) {
	u := Unpacker{cfg: Config{MaxBytes: 16 << 30, MaxEntries: 100}}
	b := u.budget()
	if got := b.room(1000); got != (treeLimits{200_000 + 256<<20, 100}) {
		t.Errorf("room for the first: %+v", got)
	}
	if err := b.spend(&layerInfo{Bytes: 200 << 20, Entries: 40}, 1000); err != nil {
		t.Error(err)
	}
	if got := b.room(1 << 40); got != (treeLimits{16<<30 - 200<<20, 60}) {
		t.Errorf("room for a large one: %+v", got)
	}
	if err := b.spend(&layerInfo{Bytes: 200 << 20, Entries: 40}, 2<<20); err != nil { // in its ratio
		t.Error(err)
	}
	if err := b.spend(&layerInfo{Bytes: 100 << 20, Entries: 1}, 1000); err == nil {
		t.Error("two small layers have more than one may")
	}
}
