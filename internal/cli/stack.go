package cli

import (
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/number"
	"howdah.dev/howdah/internal/stack"
	"howdah.dev/howdah/stacks"
)

func (a *app) stackCmd() *cobra.Command {
	c := &cobra.Command{Use: "stack", Short: "Show and check kinds of clusters"}
	c.AddCommand(&cobra.Command{
		Use: "show [STACK]", Short: "List the stacks, or explain one", Args: args(0, 1, ""),
		RunE: func(_ *cobra.Command, got []string) error {
			o, err := a.home.LoadOptions()
			if err != nil {
				return err
			}
			cat, ds := catalog(o.Stacks...)
			if err := ds.Err(); err != nil {
				return ds
			}
			if len(got) == 0 {
				return a.listStacks(cat)
			}
			s, ok := cat.Get(got[0])
			if !ok {
				return &exitError{exitNotFound, fmt.Errorf("there is no stack %s; there is %s", got[0], strings.Join(cat.Names(), ", "))}
			}
			d := s.Describe()
			return a.print(d, func(w io.Writer) { printStack(w, d) })
		},
	}, &cobra.Command{
		Use: "check DIRECTORY", Short: "Report every mistake of a stack's directory", Args: args(1, 1, "the stack's directory"),
		RunE: func(_ *cobra.Command, got []string) error { return a.checkStack(got[0]) },
	})
	return c
}

// catalog loads the stacks of the binary and of further directories.
func catalog(dirs ...string) (*stack.Catalog, api.Diagnostics) {
	layers := []stack.Layer{{Name: "stacks", FS: stacks.FS}}
	for _, d := range dirs {
		layers = append(layers, stack.Layer{Name: d, FS: os.DirFS(d)})
	}
	return stack.LoadCatalog(layers...)
}

func (a *app) listStacks(cat *stack.Catalog) error {
	var all []api.Stack
	for _, name := range cat.Names() {
		s, _ := cat.Get(name)
		all = append(all, s.Describe())
	}
	return a.print(all, func(w io.Writer) {
		var rows [][]string
		for _, s := range all {
			rows = append(rows, []string{s.Name, s.Version, s.Summary, short(s.Digest)})
		}
		table(w, []string{"STACK", "VERSION", "WHAT", "DIGEST"}, rows)
	})
}

func printStack(w io.Writer, s api.Stack) {
	fmt.Fprintf(w, "%s %s  %s\n\n", s.Name, s.Version, s.Summary)
	table(w, []string{"", ""}, [][]string{
		{"java", s.Java},
		{"digest", s.Digest},
		{"exports", strings.Join(s.Exports, ", ")},
		{"tools", strings.Join(s.Tools, ", ")},
		{"runs", strings.Join(s.Workloads, ", ")},
		{"configurable", strings.Join(s.Files, ", ")},
	})
	for _, l := range slices.Sorted(maps.Keys(s.Links)) {
		fmt.Fprintf(w, "link %s: %s\n", l, s.Links[l])
	}
	fmt.Fprintln(w)
	var rows [][]string
	for _, r := range s.Roles {
		rows = append(rows, []string{r.Name, number.Thousands(r.MemoryMB), strings.Join(r.Services, ", "), strings.Join(r.Rules, "; "), r.Summary})
	}
	table(w, []string{"ROLE", "MEMORY MB", "SERVICES", "RULES", "WHAT"}, rows)
}

// checkStack loads one directory beside the built-in stacks. What it includes
// or shares may lie beside it.
func (a *app) checkStack(dir string) error {
	dir = filepath.Clean(dir)
	if _, err := os.Stat(filepath.Join(dir, "stack.yaml")); err != nil {
		return &exitError{exitNotFound, fmt.Errorf("there is no stack.yaml in %s", dir)}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	name := filepath.Base(abs)
	s, ds := stack.LoadOne(name, stack.Layer{Name: filepath.Dir(dir), FS: os.DirFS(filepath.Dir(abs))}, stack.Layer{Name: "stacks", FS: stacks.FS})
	if ds.HasErrors() {
		return ds
	}
	a.warn(ds)
	return a.print(s.Describe(), func(w io.Writer) { fmt.Fprintf(w, "%s is a good stack (digest %s)\n", name, short(s.Digest)) })
}
