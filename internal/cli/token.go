package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/tenant"
)

// tokenCmd makes, lists and revokes tokens.
func (a *app) tokenCmd() *cobra.Command {
	c := &cobra.Command{Use: "token", Short: "Make, list and take back tokens for people and programs"}
	c.AddCommand(a.tokenCreateCmd(), a.tokenListCmd(), a.tokenRevokeCmd())
	return c
}

func (a *app) tokenCreateCmd() *cobra.Command {
	var r api.TokenRequest
	var life time.Duration
	c := &cobra.Command{
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
	c.Flags().StringVar(&r.Project, "project", tenant.DefaultProject, "project it is for")
	c.Flags().StringVar(&r.Role, "role", string(tenant.Viewer), "what it allows: viewer, operator or admin")
	c.Flags().StringVar(&r.Name, "name", "", "what it is used for")
	c.Flags().DurationVar(&life, "for", 30*24*time.Hour, "how long it is good for; 0 is for ever")
	return c
}

func (a *app) tokenListCmd() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the tokens that were made, without their texts", Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ts, err := a.client().Tokens(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(ts, func(w io.Writer) {
				if len(ts) == 0 {
					fmt.Fprintln(w, "no token was made yet; howdah token create makes one")
					return
				}
				var rows [][]string
				for _, t := range ts {
					ends := "never"
					if !t.Expires.IsZero() {
						ends = t.Expires.Local().Format(time.DateTime)
					}
					rows = append(rows, []string{t.ID, t.State, t.Project, t.Role, t.Issued.Local().Format(time.DateTime), ends, t.CreatedBy, t.Name})
				}
				table(w, []string{"ID", "STATE", "PROJECT", "ROLE", "MADE", "ENDS", "BY", "NAME"}, rows)
			})
		},
	}
}

func (a *app) tokenRevokeCmd() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "Take a token back", Args: args(1, 1, "the id of a token, or its beginning"),
		Long: `Take a token back. The server refuses it at once; cells do when the agents of
their nodes have heard of it, which takes seconds while these are connected.
  howdah token list
  howdah token revoke 3f2a`,
		RunE: func(cmd *cobra.Command, got []string) error {
			t, err := a.client().RevokeToken(cmd.Context(), got[0])
			if err != nil {
				return err
			}
			return a.print(t, func(w io.Writer) {
				fmt.Fprintf(w, "token %s of project %s, role %s, gives no access any more\n", t.ID, t.Project, t.Role)
			})
		},
	}
}
