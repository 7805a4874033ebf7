package proc

import (
	"context"
	"testing"
)

func BenchmarkScan(b *testing.B) {
	for b.Loop() {
		if _, err := scan(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStartAndWait(b *testing.B) {
	spec := Spec{Argv: []string{"true"}, Output: b.TempDir() + "/out", Labels: Labels{Node: "bench", Service: "true", Incarnation: 1}}
	for b.Loop() {
		p, err := Start(spec)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Wait(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}
