package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"howdah.dev/howdah/internal/artifact"
	"howdah.dev/howdah/internal/definition"
)

func (a *app) artifactCmd() *cobra.Command {
	c := &cobra.Command{Use: "artifact", Short: "Show, fetch and carry what clusters run: artifact sets"}
	c.AddCommand(a.artifactListCmd(), a.artifactFetchCmd(), a.artifactExportCmd(), a.artifactImportCmd(), a.artifactSBOMCmd())
	return c
}

func (a *app) artifactListCmd() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List artifact sets and how much of each is here", Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			sets, err := a.client().Artifacts(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(sets, func(w io.Writer) {
				var rows [][]string
				for _, s := range sets {
					rows = append(rows, []string{s.Name, fmt.Sprintf("%d of %d", s.DoneFiles, s.Files), fmt.Sprintf("%d of %d MB", s.DoneBytes/1e6, s.Bytes/1e6), strings.Join(s.Stacks, ", "), short(s.ID)})
				}
				table(w, []string{"SET", "FILES", "SIZE", "STACKS", "ID"}, rows)
			})
		},
	}
}

// lockChoice says which stacks' artifacts a command is about: those named, those of the
// clusters in a file, else all.
type lockChoice struct {
	app   *app
	file  string
	names []string
}

func (s *lockChoice) flag(c *cobra.Command) {
	c.Flags().StringVarP(&s.file, "file", "f", "", "only what the clusters of this definition need")
}

// locks returns the locks of the chosen stacks, each once.
func (s *lockChoice) locks() ([]*artifact.Lock, error) {
	o, err := s.app.home.LoadOptions()
	if err != nil {
		return nil, err
	}
	cat, ds := catalog(o.Stacks...)
	if err := ds.Err(); err != nil {
		return nil, ds
	}
	names := s.names
	if s.file != "" {
		if len(names) > 0 {
			return nil, usagef("name stacks or a file, not both")
		}
		f, err := s.app.readFile(s.file)
		if err != nil {
			return nil, err
		}
		ps, ds := definition.Read(f.Name, []byte(f.Content))
		if ds.HasErrors() {
			return nil, ds
		}
		cs, _ := definition.Complete(ps, definition.World{Stacks: cat, Infrastructures: []string{"local"}, OpenPorts: true})
		for _, c := range cs {
			names = append(names, c.Stack.Name)
		}
	} else if len(names) == 0 {
		names = cat.Names()
	}
	var out []*artifact.Lock
	for _, name := range names {
		st, ok := cat.Get(name)
		if !ok {
			return nil, &exitError{exitNotFound, fmt.Errorf("there is no stack %s; there is %s", name, strings.Join(cat.Names(), ", "))}
		}
		for _, l := range st.Locks() {
			if !slices.ContainsFunc(out, func(o *artifact.Lock) bool { return o.ID() == l.ID() }) {
				out = append(out, l)
			}
		}
	}
	return out, nil
}

// cache is the home's own, which servers and commands share.
func (a *app) cache() *artifact.Cache {
	return artifact.New(artifact.Config{Dir: a.home.Cache(), Log: logger(io.Discard)})
}

// resolve brings locks into the cache and says how far it is, a line for each set.
func (a *app) resolve(ctx context.Context, locks []*artifact.Lock) error {
	if err := a.home.Prepare(); err != nil {
		return err
	}
	said := map[string]bool{}
	return a.cache().Resolve(ctx, locks, func(p artifact.Progress) {
		if p.DoneFiles == p.TotalFiles && !said[p.Set] {
			said[p.Set] = true
			fmt.Fprintf(a.err, "%s  %d files, %d MB\n", p.Set, p.TotalFiles, p.TotalBytes/1e6)
		}
	})
}

func (a *app) artifactFetchCmd() *cobra.Command {
	s := &lockChoice{app: a}
	c := &cobra.Command{
		Use: "fetch [STACK...]", Short: "Bring artifact sets into the home's cache", Args: cobra.ArbitraryArgs,
		Long: `Bring artifact sets into the home's cache, those of all stacks where none is
named, so that no cluster has to wait for them. Files come from the local Maven
repository, from Maven, or from where the stack's lock says; each is checked
against its SHA-256. Needs no server.`,
		Example: "  howdah artifact fetch\n  howdah artifact fetch hdfs yarn\n  howdah artifact fetch -f examples/platform/platform.yaml",
		RunE: func(cmd *cobra.Command, got []string) error {
			s.names = got
			locks, err := s.locks()
			if err != nil {
				return err
			}
			return a.resolve(cmd.Context(), locks)
		},
	}
	s.flag(c)
	return c
}

func (a *app) artifactExportCmd() *cobra.Command {
	s := &lockChoice{app: a}
	c := &cobra.Command{
		Use: "export FILE [STACK...]", Short: "Write artifact sets to one file, for a machine without network", Args: args(1, 100, "the file to write"),
		Long: `Write artifact sets to one file (a tar; - is standard output), for a machine that
reaches neither Maven nor a network: howdah artifact import takes it there. What
is not in the cache yet is fetched first. Needs no server.`,
		Example: "  howdah artifact export bundle.tar\n  howdah artifact export bundle.tar -f examples/platform/platform.yaml",
		RunE: func(cmd *cobra.Command, got []string) error {
			s.names = got[1:]
			locks, err := s.locks()
			if err != nil {
				return err
			}
			if err := a.resolve(cmd.Context(), locks); err != nil {
				return err
			}
			if got[0] == "-" {
				return a.cache().Export(cmd.Context(), a.out, locks)
			}
			f, err := renameio.NewPendingFile(got[0], renameio.WithTempDir(filepath.Dir(got[0])), renameio.WithPermissions(0o644))
			if err != nil {
				return usagef("cannot write %s: %v", got[0], err)
			}
			defer func() { _ = f.Cleanup() }() // nothing is left where it was replaced
			if err := a.cache().Export(cmd.Context(), f, locks); err != nil {
				return err
			}
			return f.CloseAtomicallyReplace()
		},
	}
	s.flag(c)
	return c
}

func (a *app) artifactImportCmd() *cobra.Command {
	return &cobra.Command{
		Use: "import FILE", Short: "Take artifact sets from a file that export wrote", Args: args(1, 1, "the file, or - for standard input"),
		Long: `Take artifact sets from a file that howdah artifact export wrote (- is standard
input). Each file is checked against its digest. After it, clusters whose sets are
all here need neither Maven nor a network. Needs no server.`,
		RunE: func(cmd *cobra.Command, got []string) error {
			in, err := a.openInput(got[0])
			if err != nil {
				return err
			}
			defer in.Close()
			if err := a.home.Prepare(); err != nil {
				return err
			}
			n, err := a.cache().Import(cmd.Context(), in)
			if err != nil {
				return &exitError{exitFailed, err}
			}
			fmt.Fprintf(a.err, "%d files are new here\n", n)
			return nil
		},
	}
}

func (a *app) artifactSBOMCmd() *cobra.Command {
	s := &lockChoice{app: a}
	c := &cobra.Command{
		Use: "sbom [STACK...]", Short: "Print the bill of materials of artifact sets as CycloneDX JSON", Args: cobra.ArbitraryArgs,
		Long: `Print the bill of materials of what clusters run, as CycloneDX 1.6 JSON: every
file of the stacks' locks with coordinates, licence and SHA-256. Fetches nothing.`,
		Example: "  howdah artifact sbom > sbom.json\n  howdah artifact sbom storm",
		RunE: func(_ *cobra.Command, got []string) error {
			s.names = got
			locks, err := s.locks()
			if err != nil {
				return err
			}
			return artifact.SBOM(a.out, locks, Version)
		},
	}
	s.flag(c)
	return c
}
