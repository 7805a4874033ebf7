package server

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/tenant"
)

// endsSoon is when an authority's end is near enough to be said.
const endsSoon = 365 * 24 * time.Hour

// security serves the posture and what is open in it.
func (s *Server) security(a huma.API) {
	route(a, http.MethodGet, "/v1/security", "security", "The posture, and each risk that is open", func(ctx context.Context, _ *struct{}) (*body[api.Security], error) {
		risks, err := s.risks(ctx, time.Now())
		return answer(api.Security{Posture: s.cfg.Options.posture(), User: s.user, Address: s.info().Address, Risks: risks}, err)
	})
}

// risks lists what is weaker than it could be and can be mended.
func (s *Server) risks(ctx context.Context, now time.Time) ([]api.Risk, error) {
	out := []api.Risk{}
	add := func(kind, object, remedy, format string, args ...any) {
		out = append(out, api.Risk{Kind: kind, Object: object, Message: fmt.Sprintf(format, args...), Remedy: remedy})
	}
	if s.cfg.Options.OpenPorts {
		add("open-ports", "", "howdah up --allow-open-ports=false", "services may listen on every address of this host")
	}
	tokens, err := s.listTokens(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range tokens {
		if t.State != "good" || !t.Expires.IsZero() {
			continue
		}
		add("token-without-end", t.ID, "howdah token revoke "+t.ID, "the token %s of project %s, role %s, has no end", named(t), t.Project, t.Role)
	}
	authorities, err := s.manager.Authorities(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range authorities.Authorities {
		if a.Expires.Sub(now) < endsSoon {
			add("authority-ends", a.ID, "howdah ca rotate", "the certificate authority %s ends %s", a.ID, a.Expires.UTC().Format(time.DateOnly))
		}
	}
	if all := authorities.Authorities; len(all) > 1 {
		add("authority-overlap", all[0].ID, "howdah ca retire", "the certificate authority %s is still trusted beside %s; %d nodes have a certificate of it", all[0].ID, all[1].ID, len(all[0].Nodes))
	}
	for _, n := range authorities.Lost {
		add("node-lost", n.Node, n.Remedy, "%s cannot connect: %s", n.Node, n.Message)
	}
	if err := s.agentRisks(ctx, now, add); err != nil {
		return nil, err
	}
	deaf, err := s.manager.Unrestricted(ctx)
	for _, name := range deaf {
		add("deaf-cluster", name, "howdah apply", "cluster %s does not hear of revoked tokens, for it was made by an earlier version", name)
	}
	return out, err
}

// agentRisks lists agents that did not renew in time, or are of another version.
func (s *Server) agentRisks(ctx context.Context, now time.Time, add func(kind, object, remedy, format string, args ...any)) error {
	agents, err := s.manager.Agents(ctx)
	if err != nil {
		return err
	}
	life := s.cfg.CertificateLife
	if life == 0 {
		life = tenant.DefaultLife
	}
	for _, a := range agents {
		if left := a.Expires.Sub(now); !a.Expires.IsZero() && left > 0 && left < life/4 {
			add("certificate-ends", a.Node, "let the node's host run", "the certificate of %s ends %s and was not renewed; after that: howdah ca rejoin %s", a.Node, a.Expires.UTC().Format(time.RFC3339), a.Node)
		}
		if a.Version != "" && a.Version != s.cfg.Version {
			add("agent-version", a.Node, "howdah upgrade", "the agent of %s has version %s, the server %s", a.Node, a.Version, s.cfg.Version)
		}
	}
	return nil
}

// named is a token for people: its name, or the beginning of its id.
func named(t api.TokenInfo) string {
	if t.Name != "" {
		return fmt.Sprintf("%q (%.8s)", t.Name, t.ID)
	}
	return fmt.Sprintf("%.8s", t.ID)
}
