package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/tenant"
)

// tokenCmd makes tokens.
func (a *app) tokenCmd() *cobra.Command {
	c := &cobra.Command{Use: "token", Short: "Make tokens for people and programs"}
	var r api.TokenRequest
	var life time.Duration
	create := &cobra.Command{
		Use: "create --project PROJECT --role ROLE", Short: "Make a token and print it", Args: args(0, 0, ""),
		Long: `Make a token. It is printed once and kept nowhere. Cells, the registry and the
API take it as bearer token, or as the password of any user.
  howdah token create --project shop --role operator --for 720h`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := tenant.ParseRole(r.Role); err != nil {
				return &usageError{err}
			}
			if life < 0 || life > 0 && life < time.Second {
				return usagef("--for %s is too short; give a second or more, or 0 for ever", life)
			}
			r.Seconds = int64(life.Seconds())
			t, err := a.client().CreateToken(cmd.Context(), r)
			if err != nil {
				return err
			}
			return a.print(t, func(w io.Writer) { fmt.Fprintln(w, t.Token) })
		},
	}
	create.Flags().StringVar(&r.Project, "project", tenant.DefaultProject, "project it is for")
	create.Flags().StringVar(&r.Role, "role", string(tenant.Viewer), "what it allows: viewer, operator or admin")
	create.Flags().StringVar(&r.Name, "name", "", "what it is used for")
	create.Flags().DurationVar(&life, "for", 30*24*time.Hour, "how long it is good for; 0 is for ever")
	c.AddCommand(create)
	return c
}
