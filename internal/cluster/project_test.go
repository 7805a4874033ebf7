package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/cluster"
	"howdah.dev/howdah/internal/store"
)

func as(project string) context.Context {
	return cluster.WithScope(context.Background(), cluster.Scope{Project: project, By: "someone of " + project})
}

// try applies a definition as somebody and returns what was refused.
func (c *cloud) try(ctx context.Context, text string) ([]api.Operation, string) {
	c.t.Helper()
	ops, _, ds, err := c.m.Apply(ctx, api.File{Name: "c.yaml", Content: text})
	if err != nil {
		c.t.Fatal(err)
	}
	var out []string
	for _, d := range ds {
		out = append(out, d.Summary+" | "+d.Detail)
	}
	return ops, strings.Join(out, "\n")
}

func named(name, more string) string { return "name: " + name + "\nstack: plain\n" + more }

// TestOwners: a cluster belongs to the project of who applies it; others do not see
// it, and cannot touch it.
func TestOwners(t *testing.T) {
	c := idle(t)
	shop, bank, owner := as("shop"), as("bank"), as("")
	ops, refused := c.try(shop, named("till", ""))
	if refused != "" || len(ops) != 1 || ops[0].By != "someone of shop" {
		t.Fatalf("%s %+v", refused, ops)
	}
	c.try(owner, named("old", ""))
	if _, refused := c.try(owner, named("given", "project: bank\n")); refused != "" {
		t.Error(refused)
	}
	sees := func(ctx context.Context) (out []string) {
		t.Helper()
		cs, err := c.m.List(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, st := range cs {
			out = append(out, st.Name+" of "+st.Project)
		}
		ops, err := c.m.Operations(ctx, "", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range ops {
			out = append(out, "apply of "+o.Cluster)
		}
		slices.Sort(out)
		return out
	}
	for ctx, want := range map[context.Context][]string{
		shop:  {"apply of till", "till of shop"},
		bank:  {"apply of given", "given of bank"},
		owner: {"apply of given", "apply of old", "apply of till", "given of bank", "old of default", "till of shop"},
	} {
		if diff := cmp.Diff(want, sees(ctx)); diff != "" {
			t.Error(diff)
		}
	}
	for _, name := range []string{"till", "nobody"} {
		want := "cluster " + name + ": not found"
		_, stop := c.m.Stop(bank, name, false)
		_, del := c.m.Delete(bank, name, name)
		_, start := c.m.Start(bank, name)
		_, get := c.m.Get(bank, name)
		for _, err := range []error{stop, del, start, get, c.m.Owns(bank, name)} {
			if !errors.Is(err, store.ErrNotFound) || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
		}
	}
	for _, tt := range []struct {
		ctx        context.Context
		text, want string
	}{
		{bank, named("till", ""), "the name till is taken | Names are unique in the installation; choose another."},
		{bank, named("new", "project: shop\n"), "project shop is not yours | Take it out: clusters belong to the project of who applies them."},
		{owner, named("till", "project: bank\n"), "cluster till belongs to project shop and cannot move to bank | Give the new one another name."},
		{owner, named("till", "project: shop\n"), ""},
		{shop, named("till", "project: shop\nttl: 8h\n"), ""},
		{owner, named("till", "ttl: 9h\n"), ""}, // whose it is stays
		{owner, named("x", "project: Not One\n"), `"Not One" has not the form wanted here | Project that owns it; that of who applies it where absent`},
	} {
		_, got := c.try(tt.ctx, tt.text)
		if got != tt.want && (tt.want == "" || !strings.HasPrefix(got, tt.want[:30])) {
			t.Errorf("%s\ngot  %s\nwant %s", tt.text, got, tt.want)
		}
	}
	if st := c.get("till"); st.Project != "shop" {
		t.Error(st.Project)
	}
}

// TestProjectOfFile: the operator of the installation says for whom a file is.
func TestProjectOfFile(t *testing.T) {
	c := idle(t)
	_, _, ds, err := c.m.Apply(as(""), api.File{Name: "c.yaml", Content: named("a", "") + "---\n" + named("b", "project: bank\n"), Project: "shop"})
	if err != nil || len(ds) > 0 {
		t.Fatal(err, ds)
	}
	if a, b := c.get("a").Project, c.get("b").Project; a != "shop" || b != "bank" {
		t.Error(a, b)
	}
	_, _, ds, err = c.m.Apply(as("bank"), api.File{Name: "c.yaml", Content: named("d", ""), Project: "shop"})
	if err != nil || len(ds) != 1 || ds[0].Summary != "project shop is not yours" {
		t.Error(err, ds)
	}
}

// TestSharing: another project's cluster is there for links only when it is shared.
func TestSharing(t *testing.T) {
	c := start(t)
	shared := func(with string) {
		t.Helper()
		c.apply("name: hub\nstack: exporter\nsharedWith: " + with + "\n")
	}
	shared("[]")
	user := named("user", "links: {peer: hub}\n")
	if _, got := c.try(as("shop"), user); !strings.HasPrefix(got, "there is no cluster hub | ") || strings.Contains(got, "Known: hub") {
		t.Error(got)
	}
	if _, got := c.try(as(""), user+"project: shop\n"); got != "cluster hub belongs to project default, which does not share it with shop | Have hub applied with sharedWith: [shop]." {
		t.Error(got)
	}
	shared("[bank]")
	if _, got := c.try(as("shop"), user); !strings.HasPrefix(got, "there is no cluster hub") {
		t.Error(got)
	}
	shared("[bank, shop]")
	ops, got := c.try(as("shop"), user)
	if got != "" {
		t.Fatal(got)
	}
	c.until(ops[0].ID, api.OperationDone)
	if _, err := c.m.Get(as("shop"), "hub"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what may be used is shown: %v", err)
	}
	// Taken back, it stays linked; the next apply is refused.
	shared("[]")
	if _, got := c.try(as("shop"), user+"ttl: 8h\n"); !strings.HasPrefix(got, "there is no cluster hub") {
		t.Error(got)
	}
	shared(`["*"]`)
	if _, got := c.try(as("shop"), user+"ttl: 8h\n"); got != "" {
		t.Error(got)
	}
	// In one file, of one project, nothing need be shared.
	if _, got := c.try(as("bank"), "name: own\nstack: exporter\n---\n"+named("uses", "links: {peer: own}\n")); got != "" {
		t.Error(got)
	}
	if _, got := c.try(as(""), "name: mine\nstack: exporter\n---\n"+named("alien", "project: bank\nlinks: {peer: mine}\n")); !strings.HasPrefix(got, "cluster mine belongs to project default, which does not share it with bank") {
		t.Error(got)
	}
}

func things(name string, n int) string {
	return fmt.Sprintf("name: %s\nstack: plain\nnodeGroups: [{name: thing, roles: [thing], instanceNum: %d, cpuNum: 2}]\n", name, n)
}

// TestQuota: what is too much is refused before anything changes, with numbers.
func TestQuota(t *testing.T) {
	c := start(t)
	shop := as("shop")
	quota := func(q api.Quota) {
		t.Helper()
		if _, err := c.m.SetQuota(as(""), "shop", q); err != nil {
			t.Fatal(err)
		}
	}
	quota(api.Quota{Nodes: 4, Cores: 100})
	try := func(text, want string) []api.Operation {
		t.Helper()
		ops, got := c.try(shop, text)
		if first, _, _ := strings.Cut(got, " |"); first != want {
			t.Errorf("%s\ngot  %s\nwant %s", text, got, want)
		}
		return ops
	}
	try(things("a", 5), "project shop may have 4 nodes; it has 0 and asks for 5 more")
	ops := try(things("a", 3), "")
	try(things("b", 2), "project shop may have 4 nodes; it has 3 and asks for 2 more") // nothing is planned yet
	c.until(ops[0].ID, api.OperationDone)
	try(things("b", 2), "project shop may have 4 nodes; it has 3 and asks for 2 more")
	try(things("a", 5), "project shop may have 4 nodes; it has 3 and asks for 2 more")
	try(things("b", 1)+"---\n"+things("c", 1), "project shop may have 4 nodes; it has 3 and asks for 2 more")
	if _, err := c.m.Get(shop, "b"); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	c.until(try(things("a", 2), "")[0].ID, api.OperationDone)
	c.until(try(things("b", 2), "")[0].ID, api.OperationDone)
	if p, err := c.m.Project(shop, "shop"); err != nil || p != (api.Project{Name: "shop", Clusters: 2, Has: api.Quota{Nodes: 4, Cores: 8, MemoryMB: 400}, Quota: api.Quota{Nodes: 4, Cores: 100}}) {
		t.Errorf("%+v %v", p, err)
	}
	// A quota below what is there takes nothing away and lets nothing grow.
	quota(api.Quota{Nodes: 3, Cores: 3, MemoryMB: 1000})
	try(things("a", 3), "project shop may have 3 nodes; it has 4 and asks for 1 more")
	c.until(try(things("a", 1), "")[0].ID, api.OperationDone)
	quota(api.Quota{MemoryMB: 250})
	try(things("c", 1), "project shop may have 250 MiB of memory; it has 300 and asks for 100 more")
	// It binds the project, not others; and it can be lifted.
	if _, got := c.try(as("bank"), things("d", 2)); got != "" {
		t.Error(got)
	}
	quota(api.Quota{})
	try(things("c", 1), "")
	if all, err := c.m.Projects(as("bank")); err != nil || len(all) != 1 || all[0].Name != "bank" {
		t.Errorf("%+v %v", all, err)
	}
}

// TestQuotaHoldsAgainstManyAtOnce: ten applies at once do not pass together.
func TestQuotaHoldsAgainstManyAtOnce(t *testing.T) {
	c := idle(t)
	if _, err := c.m.SetQuota(as(""), "shop", api.Quota{Nodes: 3}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	said := make([]string, 10)
	for i := range said {
		wg.Go(func() {
			_, _, ds, err := c.m.Apply(as("shop"), api.File{Name: "c.yaml", Content: named(fmt.Sprintf("c%d", i), "")})
			switch {
			case err != nil:
				said[i] = err.Error()
			case len(ds) > 0:
				said[i] = ds[0].Summary
			}
		})
	}
	wg.Wait()
	got := map[string]int{}
	for _, s := range said {
		got[s]++
	}
	want := map[string]int{"": 3, "project shop may have 3 nodes; it has 3 and asks for 1 more": 7}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestNameIsUsedAgain: what happened to one project's cluster is not another's to see.
func TestNameIsUsedAgain(t *testing.T) {
	c := start(t)
	ops, _ := c.try(as("shop"), named("n", ""))
	c.until(ops[0].ID, api.OperationDone)
	o, err := c.m.Delete(as("shop"), "n", "")
	if err != nil {
		t.Fatal(err)
	}
	c.until(o.ID, api.OperationDone)
	ops, refused := c.try(as("bank"), named("n", ""))
	if refused != "" {
		t.Fatal(refused)
	}
	c.until(ops[0].ID, api.OperationDone)
	got, err := c.m.Operations(as("bank"), "n", 100)
	if err != nil || len(got) != 1 || got[0].ID != ops[0].ID {
		t.Errorf("%+v %v", got, err)
	}
	if err := c.m.OwnsOperation(as("bank"), o.ID); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
	err = c.store.View(context.Background(), func(tx *store.Tx) error {
		for project, began := range map[string]int64{"shop": 0, "bank": o.ID} {
			es, err := tx.EventsOf(project, 0, "", 0, 1000)
			if err != nil {
				return err
			}
			if len(es) < 5 {
				t.Errorf("%s sees %d events", project, len(es))
			}
			for _, e := range es {
				if late := e.Operation > o.ID; e.Operation != 0 && late != (began > 0) || e.Cluster != "n" {
					t.Errorf("%s sees %+v", project, e)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
