package app

import (
	"os"
	"testing"
)

// BenchmarkReadApp is the part of a POST that reads, completes and checks an app.
func BenchmarkReadApp(b *testing.B) {
	body, err := os.ReadFile("testdata/read/everything.in.json")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		u, bad := ReadApp(body, "/")
		if bad != nil {
			b.Fatal(bad)
		}
		if _, bad := u.New(cell()); bad != nil {
			b.Fatal(bad)
		}
	}
}

// BenchmarkSameConfig is done for every app of a group that is put again.
func BenchmarkSameConfig(b *testing.B) {
	body, err := os.ReadFile("testdata/read/everything.out.json")
	if err != nil {
		b.Fatal(err)
	}
	u, _ := ReadApp(body, "/")
	one, _ := u.New(cell())
	two, _ := u.New(cell())
	b.ReportAllocs()
	for b.Loop() {
		if !SameConfig(one, two) {
			b.Fatal("they differ")
		}
	}
}
