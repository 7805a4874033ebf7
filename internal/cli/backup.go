package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/backup"
	"howdah.dev/howdah/internal/number"
)

func (a *app) backupCmd() *cobra.Command {
	var without []string
	var images bool
	c := &cobra.Command{
		Use: "backup FILE", Short: "Write the control plane and the clusters' metadata into a file", Args: args(1, 1, "FILE"),
		Long: `Write the installation's state into one file: the database, the certificate
authority, settings, pipelines, directories of stacks, and the data of services
whose stack says how it is copied while they run, such as the names of all files
of an HDFS. Blocks of files are not in it.

The file holds the installation's keys: whoever has it can act as this
installation. It is readable by you alone.`,
		Example: "  howdah backup /var/backups/platform.howdah\n  howdah backup --without batch platform.howdah",
		RunE: func(cmd *cobra.Command, got []string) error {
			return a.backup(cmd.Context(), got[0], backup.Config{Images: images}, without)
		},
	}
	c.Flags().StringSliceVar(&without, "without", nil, "clusters whose data is left out")
	c.Flags().BoolVar(&images, "images", false, "take the registry's images along")
	return c
}

// backedUp is what "howdah backup" and "howdah restore" print.
type backedUp struct {
	File    string        `json:"file"`
	Bytes   int64         `json:"bytes"`
	Home    string        `json:"home"`
	Created time.Time     `json:"created"`
	Subnet  string        `json:"subnet"`
	Files   int           `json:"files"`
	Data    []backup.Data `json:"data"`
	LeftOut []string      `json:"leftOut"`
}

func (a *app) backup(ctx context.Context, file string, cfg backup.Config, without []string) error {
	if err := hasDirectory(file); err != nil {
		return err
	}
	cl := a.client()
	b, err := cl.BeginBackup(ctx, api.BackupRequest{Without: without})
	if err != nil {
		return err
	}
	// What agents sent is in the home until then.
	defer func() {
		for _, p := range b.Parts {
			for _, f := range p.Files {
				_ = os.RemoveAll(filepath.Dir(f.Path)) // the next backup has another
			}
		}
	}()
	v := a.newLive()
	defer v.end()
	for !b.Final {
		for _, p := range b.Parts {
			if !a.programs() {
				v.set(p.Node+" "+p.Service, p.State+"  "+p.Message)
			}
		}
		v.draw()
		if err := sleep(ctx, glance); err != nil {
			return err
		}
		if b, err = cl.Backup(ctx, b.ID); err != nil {
			return err
		}
	}
	var failed []error
	for _, p := range b.Parts {
		if p.State != "done" {
			failed = append(failed, fmt.Errorf("the data of %s on %s was not copied: %s", p.Service, p.Node, p.Message))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return &exitError{exitFailed, fmt.Errorf("%w; no backup was written", err)}
	}
	cfg.Home, cfg.File, cfg.Version, cfg.Data = a.home, file, Version, b
	m, err := backup.Write(ctx, cfg)
	if err != nil {
		return err
	}
	return a.showBackup(file, m, func(w io.Writer) {
		fmt.Fprintln(w, "\nIt holds the keys of this installation: keep it as you keep those.")
		fmt.Fprintln(w, "Restore it, into an empty home: howdah restore "+file)
	})
}

// hasDirectory refuses a file to write that nothing could be written to.
func hasDirectory(file string) error {
	dir := filepath.Dir(file)
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return &exitError{exitNotFound, fmt.Errorf("there is no directory %s", dir)}
	}
	return nil
}

// showBackup prints what a backup holds, and what it does not.
func (a *app) showBackup(file string, m backup.Manifest, more func(io.Writer)) error {
	out := backedUp{File: file, Home: a.home.Dir, Created: m.Created, Subnet: m.Subnet, Files: len(m.Members), Data: m.Data, LeftOut: m.LeftOut}
	if st, err := os.Stat(file); err == nil {
		out.Bytes = st.Size()
	}
	return a.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s: %s, %s, as of %s\n", file, size(out.Bytes), number.Count(out.Files, "file"), m.Created.Local().Format(time.DateTime))
		if len(m.Data) > 0 {
			fmt.Fprintln(w)
			var rows [][]string
			for _, d := range m.Data {
				rows = append(rows, []string{d.Node, d.Service, size(d.Bytes), d.Point})
			}
			table(w, []string{"NODE", "SERVICE", "SIZE", "AS OF"}, rows)
		}
		if len(m.LeftOut) > 0 {
			fmt.Fprintln(w, "\nNot in it:")
			for _, l := range m.LeftOut {
				fmt.Fprintln(w, "  "+tame(l))
			}
		}
		more(w)
	})
}

func (a *app) restoreCmd() *cobra.Command {
	return &cobra.Command{
		Use: "restore FILE", Short: "Make a home of a backup", Args: args(1, 1, "FILE"),
		Long: `Make a home of a backup. The home must be empty. Everything in the file is
verified before anything is written. Afterwards "howdah up" makes the nodes
again and starts what ran when the backup was written. Data that is not in the
backup, as blocks of files, is to be put into its place before that.`,
		Example: "  HOWDAH_HOME=/srv/howdah howdah restore /var/backups/platform.howdah",
		RunE: func(cmd *cobra.Command, got []string) error {
			if !exists(got[0]) {
				return &exitError{exitNotFound, fmt.Errorf("there is no %s", got[0])}
			}
			m, err := backup.Restore(cmd.Context(), a.home, got[0], Version)
			if errors.Is(err, backup.ErrNotEmpty) {
				return &exitError{exitGuard, err}
			}
			if errors.Is(err, backup.ErrDamaged) {
				return &exitError{exitInput, err}
			}
			if err != nil {
				return err
			}
			return a.showBackup(got[0], m, func(w io.Writer) {
				fmt.Fprintf(w, "\nrestored into %s, made by howdah %s on %s. Next:\n", a.home.Dir, m.Howdah, m.Host)
				if len(m.LeftOut) > 0 {
					fmt.Fprintf(w, "  put what is not in it below %s/CLUSTER/NODE/SERVICE, where you have it\n", a.home.Nodes())
				}
				fmt.Fprintln(w, "  howdah up")
			})
		},
	}
}
