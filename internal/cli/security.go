package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/server"
)

// bounds are what protection ends at, whatever the installation. docs/explanation
// says them in the same words.
func bounds() []string {
	return []string{
		"Without Kerberos, HDFS user names guard against accidents, not attackers.",
		"Isolation between projects holds only for containers without host networking.",
		"Whoever has an account on this host can use HDFS, YARN, Storm and ZooKeeper, which listen on loopback without authentication.",
	}
}

// posture is what "howdah security" shows.
type posture struct {
	Posture string      `json:"posture"`
	User    string      `json:"user"`    // everything outside of containers runs as
	Address string      `json:"address"` // of the API
	Risks   []api.Risk  `json:"risks"`   // that can be mended
	Weaker  []weakPoint `json:"weaker"`  // here than it could be
	Bounds  []string    `json:"bounds"`
}

// weakPoint is a condition of a cluster that says what is weaker.
type weakPoint struct {
	Cluster string `json:"cluster"`
	Message string `json:"message"`
}

func (a *app) securityCmd() *cobra.Command {
	return &cobra.Command{
		Use: "security", Short: "Say what is protected here, what is weaker than it could be, and what is not protected", Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			now, err := a.client().Security(cmd.Context())
			if err != nil {
				return err
			}
			clusters, err := a.client().Clusters(cmd.Context())
			if err != nil {
				return err
			}
			p := posture{Posture: now.Posture, User: now.User, Address: now.Address, Risks: now.Risks, Weaker: []weakPoint{}, Bounds: bounds()}
			for _, c := range clusters {
				for _, cond := range c.Conditions {
					if cond.Type == api.ConditionWeakened && cond.Status {
						p.Weaker = append(p.Weaker, weakPoint{c.Name, cond.Message})
					}
				}
			}
			return a.print(p, p.show)
		},
	}
}

// audience says whom a posture is for.
func audience(posture string) string {
	if posture == server.PostureShared {
		return "people who do not trust each other; tokens have an end, and the owner is who holds the socket"
	}
	return "one person, or one team that trusts each other, on a host that is theirs"
}

func (p posture) show(w io.Writer) {
	fmt.Fprintf(w, "posture  %s: %s\n", p.Posture, audience(p.Posture))
	fmt.Fprintf(w, "API      %s, on loopback alone; who calls shows a token (howdah token create)\n", p.Address)
	fmt.Fprintf(w, "user     %s: services, jobs, topologies and plain commands run as this user\n", p.User)
	if len(p.Risks) > 0 {
		fmt.Fprintln(w, "\nTo be mended:")
		for _, r := range p.Risks {
			fmt.Fprintf(w, "  %s\n    %s\n", tame(r.Message), tame(r.Remedy))
		}
	}
	if len(p.Weaker) == 0 {
		fmt.Fprintln(w, "\nNo cluster says that something is weaker here than it could be.")
	} else {
		fmt.Fprintln(w, "\nWeaker here than it could be:")
		for _, at := range p.Weaker {
			fmt.Fprintf(w, "  %s: %s\n", at.Cluster, strings.ReplaceAll(tame(at.Message), "; ", ";\n    "))
		}
	}
	fmt.Fprintln(w, "\nNot protected:")
	for _, b := range p.Bounds {
		fmt.Fprintln(w, "  "+b)
	}
}
