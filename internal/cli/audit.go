package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
)

// auditCmd shows the audit record.
func (a *app) auditCmd() *cobra.Command {
	var f client.AuditFilter
	var since string
	c := &cobra.Command{
		Use: "audit", Short: "Show who changed what, from where, and with which result", Args: args(0, 0, ""),
		Long: `Show the audit record: a line for each change that was asked for through the API,
also refused ones, and for nodes that joined, renewed their certificate or lost it.
  howdah audit --since 24h --what delete-cluster`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if f.Since, err = sinceTime(since, time.Now()); err != nil {
				return err
			}
			if f.Limit < 1 || f.Limit > 5000 {
				return usagef("--limit %d is not between 1 and 5000", f.Limit)
			}
			rows, err := a.client().Audit(cmd.Context(), f)
			if err != nil {
				return err
			}
			return a.print(rows, func(w io.Writer) { showAudit(w, rows) })
		},
	}
	c.Flags().StringVar(&since, "since", "", sinceHelp)
	c.Flags().StringVar(&f.Who, "who", "", "only of this token's id or name, or owner")
	c.Flags().StringVar(&f.What, "what", "", "only this operation, such as apply or delete-cluster")
	c.Flags().IntVar(&f.Limit, "limit", 200, "at most so many, the newest")
	return c
}

func showAudit(w io.Writer, entries []api.AuditEntry) {
	if len(entries) == 0 {
		fmt.Fprintln(w, "nothing of that kind is in the audit record")
		return
	}
	var rows [][]string
	for _, e := range entries {
		who := e.Who
		switch {
		case who == "":
			who = "-"
		case e.Name != "" && e.Name != e.Who:
			who = fmt.Sprintf("%s (%.8s)", e.Name, e.Who)
		}
		rows = append(rows, []string{
			e.Time.Local().Format(time.DateTime), who, strings.Trim(e.Project+" "+e.Role, " "), e.Origin, e.What, strconv.Itoa(e.Status), e.Object, e.Detail,
		})
	}
	table(w, []string{"TIME", "WHO", "AS", "FROM", "WHAT", "RESULT", "OBJECT", ""}, rows)
}
