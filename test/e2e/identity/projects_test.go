package identity

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
	"howdah.dev/howdah/test/e2e/harness"
)

// tenant is one who calls over the network with a token of a project.
type tenant struct {
	*client.Client
	project, cluster, node string
	token                  api.Token
	admin                  *client.Client // of the project; commands on nodes are for admins
	operation              int64          // by which the cluster was made
}

// TestProjects has two projects on one installation. Each sees and changes its own and
// finds nothing of the other's; what one may have is bounded; a token that is taken
// back is refused at once.
func TestProjects(t *testing.T) {
	h := harness.New(t)
	h.Up("--posture", "shared", "--stacks", h.IdleStacks())
	h.OK("project", "set-quota", "shop", "--nodes", "2")
	h.OK("apply", "--yes", "--project", "shop", "-f", h.Write("till.yaml", idle("till", 1)))
	h.OK("apply", "--yes", "--project", "bank", "-f", h.Write("vault.yaml", idle("vault", 1)))
	shop, bank := newTenant(h, "shop", "till"), newTenant(h, "bank", "vault")
	for _, v := range []struct{ who, other *tenant }{{shop, bank}, {bank, shop}} {
		t.Run(v.who.project, func(t *testing.T) {
			own(t, v.who)
			foreign(t, v.who, v.other)
		})
	}
	if t.Failed() {
		return
	}
	quota(t, h, shop)
	changes(t, h, shop)
	revoked(t, h, shop, bank)
}

// idle defines a cluster that does nothing.
func idle(name string, nodes int) string {
	return fmt.Sprintf("name: %s\nstack: idle\nnodeGroups:\n  - {name: server, roles: [idle], instanceNum: %d}\n", name, nodes)
}

func newTenant(h *harness.Home, project, cluster string) *tenant {
	h.Ready(20*time.Second, cluster)
	made := harness.JSON[api.Token](h, "token", "create", "--project", project, "--role", "operator", "--name", "clerk of "+project, "--for", "1h")
	as := func(token string) *client.Client { return client.New(client.Config{URL: h.Address(), Token: token}) }
	return &tenant{
		Client: as(made.Token), admin: as(h.Token(project, "admin")), project: project, cluster: cluster,
		node: h.Cluster(cluster).Nodes[0].Name, token: made, operation: h.Operations(cluster)[0].ID,
	}
}

// own: what is one's own is there, and nothing else in any list.
func own(t *testing.T, who *tenant) {
	t.Helper()
	ctx := t.Context()
	cs, err := who.Clusters(ctx)
	if err != nil || len(cs) != 1 || cs[0].Name != who.cluster || cs[0].Project != who.project {
		t.Errorf("its clusters are %+v, %v", cs, err)
	}
	if c, err := who.Cluster(ctx, who.cluster); err != nil || c.State != api.StateReady {
		t.Errorf("its cluster is %+v, %v", c, err)
	}
	ops, err := who.Operations(ctx, "", 50)
	if err != nil || len(ops) != 1 || ops[0].ID != who.operation || ops[0].By != "owner" {
		t.Errorf("its operations are %+v, %v", ops, err)
	}
	ps, err := who.Projects(ctx)
	if err != nil || len(ps) != 1 || ps[0].Name != who.project || ps[0].Has.Nodes != 1 {
		t.Errorf("its projects are %+v, %v", ps, err)
	}
	es, err := who.History(ctx, "", 1000)
	if err != nil || len(es) == 0 {
		t.Errorf("its events are %+v, %v", es, err)
	}
	for _, e := range es {
		if e.Cluster != who.cluster {
			t.Errorf("it sees the event %+v", e)
		}
	}
	last := es[len(es)-1].ID
	for e, err := range who.Events(ctx, client.EventOptions{All: true}) {
		if err != nil || e.Cluster != who.cluster {
			t.Errorf("it hears %+v, %v", e, err)
		}
		if err != nil || e.ID >= last {
			break
		}
	}
	for _, err := range who.ClusterLogs(ctx, who.cluster, client.LogOptions{Tail: 1}) {
		if err != nil {
			t.Errorf("its logs: %v", err)
		}
	}
	var said strings.Builder
	code, err := who.admin.Exec(ctx, who.cluster, who.node, client.Exec{Argv: []string{"pwd"}, Out: &said, Err: &said})
	if err != nil || code != 0 || !strings.HasSuffix(said.String(), "/"+who.node+"\n") {
		t.Errorf("a command on its node: %d %q %v", code, said.String(), err)
	}
}

// foreign: what is another's is answered as what nobody has, and goes on untouched.
func foreign(t *testing.T, who, other *tenant) {
	t.Helper()
	ctx := t.Context()
	for what, ask := range map[string]func(cluster string, operation int64) error{
		"describe": func(c string, _ int64) error { _, err := who.Cluster(ctx, c); return err },
		"explain":  func(c string, _ int64) error { _, err := who.Explain(ctx, c); return err },
		"stop":     func(c string, _ int64) error { _, err := who.Stop(ctx, c, false); return err },
		"start":    func(c string, _ int64) error { _, err := who.Start(ctx, c); return err },
		"delete":   func(c string, _ int64) error { _, err := who.Delete(ctx, c, c); return err },
		"smoke":    func(c string, _ int64) error { _, err := who.Smoke(ctx, c); return err },
		"op get":   func(_ string, id int64) error { _, err := who.Operation(ctx, id); return err },
		"op cancel": func(_ string, id int64) error {
			_, err := who.Control(ctx, id, "cancel", 0)
			return err
		},
		"logs": func(c string, _ int64) error {
			for _, err := range who.ClusterLogs(ctx, c, client.LogOptions{Tail: 1}) {
				return err
			}
			return nil
		},
		"exec": func(c string, _ int64) error {
			_, err := who.admin.Exec(ctx, c, other.node, client.Exec{Argv: []string{"true"}, Out: io.Discard, Err: io.Discard})
			return err
		},
	} {
		theirs, nobodys := ask(other.cluster, other.operation), ask("nobody", 999)
		if status(theirs) != http.StatusNotFound || status(nobodys) != http.StatusNotFound {
			t.Errorf("%s of what is another's: %v; of what is nobody's: %v; want not found", what, theirs, nobodys)
			continue
		}
		same := strings.NewReplacer(other.cluster, "X", "nobody", "X", fmt.Sprint("operation ", other.operation), "X", "operation 999", "X")
		if same.Replace(theirs.Error()) != same.Replace(nobodys.Error()) {
			t.Errorf("%s tells what is another's from what is nobody's: %v, %v", what, theirs, nobodys)
		}
	}
	for _, cluster := range []string{other.cluster, "nobody"} {
		if es, err := who.History(ctx, cluster, 100); err != nil || len(es) != 0 {
			t.Errorf("the events of %s are %+v, %v", cluster, es, err)
		}
		if os, err := who.Operations(ctx, cluster, 100); err != nil || len(os) != 0 {
			t.Errorf("the operations of %s are %+v, %v", cluster, os, err)
		}
	}
	if _, err := who.Apply(ctx, api.File{Name: "theirs.yaml", Content: idle(other.cluster, 2)}); err == nil || !strings.Contains(err.Error(), other.cluster) {
		t.Errorf("applying a name that is another's: %v", err)
	}
	if _, err := who.Apply(ctx, api.File{Name: "theirs.yaml", Content: "project: " + other.project + "\n" + idle("more", 1)}); err == nil || !strings.Contains(err.Error(), "project "+other.project+" is not yours") {
		t.Errorf("applying for another project: %v", err)
	}
	if _, err := who.Project(ctx, other.project); status(err) != http.StatusNotFound {
		t.Errorf("the other project: %v", err)
	}
	for what, err := range map[string]error{
		"its own quota": second(who.SetQuota(ctx, who.project, api.Quota{})),
		"tokens":        second(who.Tokens(ctx)),
		"a new token":   second(who.CreateToken(ctx, api.TokenRequest{Project: who.project, Role: "viewer", Seconds: 60})),
		"the record":    second(who.Audit(ctx, client.AuditFilter{})),
	} {
		if status(err) != http.StatusForbidden {
			t.Errorf("an operator of a project asks for %s: %v", what, err)
		}
	}
	if c, err := other.Cluster(ctx, other.cluster); err != nil || c.State != api.StateReady || len(c.Nodes) != 1 || c.Operation != 0 {
		t.Errorf("the other's cluster is %+v, %v", c, err)
	}
}

func second[T any](_ T, err error) error { return err }

// status is what the server answered, 0 where that was no error.
func status(err error) int {
	if p, ok := errors.AsType[*api.Problem](err); ok {
		return p.Status
	}
	return 0
}

// quota: what is too much is refused with numbers, for the project's own operator and
// for the installation's; the list shows what is used.
func quota(t *testing.T, h *harness.Home, shop *tenant) {
	t.Helper()
	const refusal = "project shop may have 2 nodes; it has 1 and asks for 2 more"
	_, err := shop.Apply(t.Context(), api.File{Name: "more.yaml", Content: idle("more", 2)})
	ds, ok := errors.AsType[*api.Problem](err)
	if !ok || len(ds.Diagnostics) != 1 || ds.Diagnostics[0].Summary != refusal || !strings.Contains(ds.Diagnostics[0].Detail, "howdah project set-quota shop") {
		t.Errorf("its operator asks for too much: %+v", err)
	}
	r := h.Fails(2, "apply", "--yes", "--project", "shop", "-f", h.Write("more.yaml", idle("more", 2)))
	harness.Contains(t, "too much", r.Stderr, refusal, "nothing was changed")
	r = h.Fails(2, "apply", "--yes", "-f", h.Write("till.yaml", idle("till", 3)))
	harness.Contains(t, "one's own grown too large", r.Stderr, refusal)
	list := h.OK("project", "list")
	for _, want := range []string{`(?m)^shop +1 +1 of 2 +1 +32$`, `(?m)^bank +1 +1 +1 +32$`} {
		if !regexp.MustCompile(want).MatchString(list) {
			t.Errorf("howdah project list lacks %s:\n%s", want, list)
		}
	}
	h.Fails(2, "project", "set-quota", "shop")
	h.Fails(2, "project", "set-quota", "shop", "--nodes", "-1")
	harness.Contains(t, "howdah project set-quota", h.OK("project", "set-quota", "shop", "--memory-mb", "4096"), "1 of 2", "32 of 4,096")
	harness.Contains(t, "howdah project get", h.OK("project", "get", "shop"), "1 of 2", "32 of 4,096")
	h.Fails(3, "project", "get", "nobody")
}

// changes: an operator changes what is its project's, and lists say who it was.
func changes(t *testing.T, h *harness.Home, shop *tenant) {
	t.Helper()
	made, err := shop.Apply(t.Context(), api.File{Name: "till.yaml", Content: idle("till", 2)})
	if err != nil || len(made.Operations) != 1 {
		t.Fatalf("%+v %v", made, err)
	}
	h.Done(20*time.Second, made.Operations[0].ID)
	list := h.OK("op", "list", "till")
	if !regexp.MustCompile(`(?m)^ID .* BY +REASON$`).MatchString(list) || !regexp.MustCompile(`(?m)^\d+ +till +apply +done +.* clerk of shop`).MatchString(list) {
		t.Errorf("howdah op list does not say who asked:\n%s", list)
	}
	harness.Contains(t, "howdah project list", h.OK("project", "list"), "2 of 2")
	harness.Contains(t, "howdah audit", h.OK("audit", "--what", "apply"), "clerk of shop")
}

// revoked: the list shows both tokens and what has become of them; one that is taken
// back is refused from then on, the other is as good as before.
func revoked(t *testing.T, h *harness.Home, shop, bank *tenant) {
	t.Helper()
	if _, err := bank.Clusters(t.Context()); err != nil {
		t.Fatal(err)
	}
	harness.Contains(t, "howdah token revoke", h.OK("token", "revoke", bank.token.ID), "of project bank, role operator, gives no access any more")
	if _, err := bank.Clusters(t.Context()); status(err) != http.StatusUnauthorized {
		t.Errorf("a revoked token: %v", err)
	}
	if _, err := shop.Clusters(t.Context()); err != nil {
		t.Errorf("another token: %v", err)
	}
	state := map[string]string{}
	for _, k := range harness.JSON[[]api.TokenInfo](h, "token", "list") {
		state[k.ID] = k.State + " " + k.Project + " " + k.Role + " " + k.Name
	}
	for _, v := range []struct {
		who  *tenant
		want string
	}{{bank, "revoked bank operator clerk of bank"}, {shop, "good shop operator clerk of shop"}} {
		if got := state[v.who.token.ID]; got != v.want {
			t.Errorf("howdah token list says %q, want %q", got, v.want)
		}
	}
}
