package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	cellapi "howdah.dev/howdah/internal/adapter/marathon"
	marathon "howdah.dev/howdah/internal/cell/app"

	"howdah.dev/howdah/internal/number"
)

// appImportCmd carries over what an old Marathon holds.
func (a *app) appImportCmd(f *appFlags) *cobra.Command {
	var file string
	var dry bool
	c := &cobra.Command{
		Use: "import -f FILE", Short: "Take over the apps of an old Marathon", Args: args(0, 0, ""),
		Long: `Take over the apps of an old Marathon from what it answers to GET /v2/groups,
and say for each what will differ here. Everything is tried first: nothing is changed
if something is refused. Groups are then made one after the other; should that stop
half-way, because another deployment is in the way, say, import the same file again.
  curl http://old:8080/v2/groups > old.json
  howdah app import -f old.json --dry-run`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usagef("say which file: -f FILE")
			}
			text, err := a.readInput(file, maxAppFile)
			if err != nil {
				return err
			}
			return a.importApps(cmd.Context(), f, text, dry)
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "answer of GET /v2/groups of the old Marathon; - for standard input")
	c.Flags().BoolVar(&dry, "dry-run", false, "only say what would be done")
	return f.changes(c)
}

// imported is what an import says.
type imported struct {
	Apps     []string                 `json:"apps"`
	Findings []marathon.ImportFinding `json:"findings"`
	Done     bool                     `json:"done"`
}

// importApps shows what will differ, and takes the apps over if nothing is
// refused.
func (a *app) importApps(ctx context.Context, f *appFlags, text []byte, dry bool) error {
	dump, bad := marathon.Import(text, marathon.Settings{Role: "*"}, nil)
	if bad != nil {
		return &exitError{exitInput, bad}
	}
	c, err := a.openCell(ctx, f.cell)
	if err != nil {
		return err
	}
	return a.takeOver(ctx, c.Client, dump, dry, f.force)
}

// takeOver tries everything before it changes anything.
func (a *app) takeOver(ctx context.Context, c *cellapi.Client, dump *marathon.Imported, dry, force bool) error {
	out := imported{Apps: slices.Sorted(maps.Keys(dump.Root.AllApps())), Findings: dump.Findings}
	refused := slices.ContainsFunc(dump.Findings, func(x marathon.ImportFinding) bool { return x.Verdict == marathon.Refused })
	var failed error
	if !refused {
		failed = putGroups(ctx, c, dump.Root, true, force)
		if failed == nil && !dry {
			failed = putGroups(ctx, c, dump.Root, false, force)
			out.Done = failed == nil
		}
	}
	if err := a.print(out, func(w io.Writer) { printImport(w, out, !refused && failed == nil) }); err != nil {
		return err
	}
	switch {
	case failed != nil:
		return appError(failed)
	case refused:
		return &exitError{exitInput, errors.New("nothing was imported: mend what is refused in the dump, or remove it, and import again")}
	}
	return nil
}

// putGroups makes the top-level groups and apps of a dump; what else the cell
// has stays.
func putGroups(ctx context.Context, c *cellapi.Client, root *marathon.Group, dry, force bool) error {
	q := url.Values{"force": {strconv.FormatBool(force)}, "dryRun": {strconv.FormatBool(dry)}}
	for _, g := range root.Groups {
		if err := c.Call(ctx, http.MethodPut, "/v2/groups"+g.ID, q, g, nil); err != nil {
			return fmt.Errorf("cannot import group %s: %w", g.ID, err)
		}
	}
	if len(root.Apps) == 0 {
		return nil
	}
	q.Set("partialUpdate", "false")
	if err := c.Call(ctx, http.MethodPut, "/v2/apps", q, root.Apps, nil); err != nil {
		return fmt.Errorf("cannot import apps: %w", err)
	}
	return nil
}

func printImport(w io.Writer, out imported, fine bool) {
	var rows [][]string
	for _, x := range out.Findings {
		rows = append(rows, []string{x.ID, string(x.Verdict), x.Pointer, x.Message, x.Remedy})
	}
	if len(rows) > 0 {
		table(w, []string{"APP", "VERDICT", "AT", "WHAT", "REMEDY"}, rows)
		fmt.Fprintln(w)
	}
	switch {
	case out.Done:
		fmt.Fprintf(w, "%s imported\n", number.Count(len(out.Apps), "app"))
	case fine:
		fmt.Fprintf(w, "%s can be imported\n", number.Count(len(out.Apps), "app"))
	}
}
