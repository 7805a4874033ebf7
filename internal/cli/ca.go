package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/api"
)

// caCmd shows and changes the certificate authorities.
func (a *app) caCmd() *cobra.Command {
	c := &cobra.Command{
		Use: "ca", Short: "Certificate authorities: show, rotate, retire; let nodes join again", Args: args(0, 0, ""),
		Long: `Show the certificate authorities of agents and which nodes have a certificate of
which. To change them without a pause: rotate, wait until every node has a
certificate of the new one, retire the old one. Tokens and the secrets of
clusters stay valid.
  howdah ca rotate && howdah ca
  howdah ca retire`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.client().Authorities(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) { showAuthorities(w, r) })
		},
	}
	rotate := &cobra.Command{
		Use: "rotate", Short: "Make a new certificate authority; the old one stays trusted until it is retired", Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.client().RotateAuthority(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) {
				showAuthorities(w, r)
				fmt.Fprintln(w, "\nconnected nodes renew their certificates now; follow it with: howdah ca; then: howdah ca retire")
			})
		},
	}
	var force bool
	retire := &cobra.Command{
		Use: "retire", Short: "End the trust in the older certificate authority", Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.client().RetireAuthority(cmd.Context(), force)
			if err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) { showAuthorities(w, r) })
		},
	}
	retire.Flags().BoolVar(&force, "force", false, "also while nodes depend on it; each of them must then join again")
	rejoin := &cobra.Command{
		Use: "rejoin NODE", Short: "Let a node join again whose certificate is good no longer; it keeps all it has", Args: args(1, 1, "the name of a node"),
		Long: `Let a node join again. Its certificate may have ended while its host was off, or
its authority was retired meanwhile. The node keeps its data and its services.
  howdah ca rejoin warehouse-worker-2`,
		RunE: func(cmd *cobra.Command, got []string) error {
			r, err := a.client().RejoinNode(cmd.Context(), got[0])
			if err != nil {
				return err
			}
			return a.print(r, func(w io.Writer) {
				fmt.Fprintf(w, "%s may join again until %s; its agent does so when it runs\n", r.Node, r.Until.Local().Format(time.DateTime))
			})
		},
	}
	c.AddCommand(rotate, retire, rejoin)
	return c
}

func showAuthorities(w io.Writer, r api.Authorities) {
	var rows [][]string
	for i, ca := range r.Authorities {
		state := "trusted"
		switch {
		case ca.Issues && len(r.Authorities) > 1:
			state = "takes over"
		case i == 0 && len(r.Authorities) > 1:
			state = "to be retired"
		}
		rows = append(rows, []string{ca.ID, state, ca.Created.Local().Format(time.DateOnly), ca.Expires.Local().Format(time.DateOnly), strconv.Itoa(len(ca.Nodes))})
	}
	table(w, []string{"AUTHORITY", "STATE", "CREATED", "ENDS", "NODES"}, rows)
	if len(r.Authorities) > 1 && len(r.Authorities[0].Nodes) > 0 {
		fmt.Fprintf(w, "\nstill with a certificate of %s: %s\n", r.Authorities[0].ID, strings.Join(r.Authorities[0].Nodes, ", "))
	}
	for _, n := range r.Lost {
		fmt.Fprintf(w, "\n%s: %s\n  bring it back with: %s\n", tame(n.Node), tame(n.Message), tame(n.Remedy))
	}
}
