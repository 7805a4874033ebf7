package cluster_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/store"
)

// TestBackupRefusals: nobody is asked for what cannot be copied, and the refusal
// says how to go on; data without a copy is named.
func TestBackupRefusals(t *testing.T) {
	c := start(t)
	c.apply("name: a\nstack: toy\n")
	ctx := context.Background()
	var guard *cluster.GuardError
	refused := func(when, want string) {
		t.Helper()
		if _, err := c.m.BeginBackup(ctx, api.BackupRequest{}); !errors.As(err, &guard) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--without a") {
			t.Errorf("%s: %v, want %q", when, err, want)
		}
	}
	refused("with an agent of the former protocol", "the data of headd on a-head-1 cannot be copied: its agent is of an earlier howdah: howdah upgrade")
	o, err := c.m.Stop(ctx, "a", false)
	if err != nil {
		t.Fatal(err)
	}
	c.until(o.ID, api.OperationDone)
	refused("stopped", "a does not run; start it: howdah start a")
	b, err := c.m.BeginBackup(ctx, api.BackupRequest{Without: []string{"a"}})
	if err != nil || !b.Final || len(b.Parts) != 0 || len(b.LeftOut) != 1 || b.LeftOut[0] != "a: data of headd on 1 nodes" {
		t.Errorf("without it: %+v, %v", b, err)
	}
	if _, err := c.m.BeginBackup(ctx, api.BackupRequest{Without: []string{"b"}}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("without a cluster that is not there: %v", err)
	}
	if _, err := c.m.Sends(ctx, "n", "t", 0); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an archive nobody asked for: %v", err)
	}
}
