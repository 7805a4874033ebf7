// Command layset resolves locks with the Maven of the person who runs it and
// lays their sets out, for scripts that need the software by hand:
//
//	go run ./internal/tools/layset CACHEDIR LOCK...
//
// It prints one line a lock: its name and the root of the set.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"howdah.dev/howdah/internal/artifact"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: layset CACHEDIR LOCK...")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1], os.Args[2:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "layset:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, files []string) error {
	var locks []*artifact.Lock
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		l, diags := artifact.ParseLock(file, data)
		if err := diags.Err(); err != nil {
			return err
		}
		l.Files = os.DirFS(filepath.Dir(file))
		locks = append(locks, l)
	}
	cache := artifact.New(artifact.Config{Dir: dir})
	if err := cache.Resolve(ctx, locks, nil); err != nil {
		return err
	}
	for _, l := range locks {
		root, err := cache.Materialise(ctx, l)
		if err != nil {
			return err
		}
		fmt.Println(l.Name, root)
	}
	return nil
}
