package filelock_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"howdah.dev/howdah/internal/image/filelock"
)

func TestTry(t *testing.T) {
	file := filepath.Join(t.TempDir(), "made", "lock")
	for _, tt := range []struct {
		name          string
		first, second filelock.Mode
		held          bool
	}{
		{"two exclusive", filelock.Exclusive, filelock.Exclusive, true},
		{"shared after exclusive", filelock.Exclusive, filelock.Shared, true},
		{"exclusive after shared", filelock.Shared, filelock.Exclusive, true},
		{"two shared", filelock.Shared, filelock.Shared, false},
	} {
		unlock, err := filelock.Try(file, tt.first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := filelock.Try(file, tt.second)
		if errors.Is(err, filelock.ErrHeld) != tt.held {
			t.Errorf("%s: got %v", tt.name, err)
		}
		if err == nil {
			second()
		}
		unlock()
	}
}

func TestTake(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	unlock, err := filelock.Try(file, filelock.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	if _, err := filelock.Take(ctx, file, filelock.Shared); !errors.Is(err, enough) {
		t.Errorf("got %v", err)
	}
	got := make(chan error, 1)
	go func() {
		free, err := filelock.Take(t.Context(), file, filelock.Exclusive)
		if err == nil {
			free()
		}
		got <- err
	}()
	unlock()
	if err := <-got; err != nil {
		t.Error(err)
	}
}
