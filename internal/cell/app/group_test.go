package app

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// tree writes a group as lines: groups with their dependencies, apps with instances,
// role and dependencies.
func tree(g *Group) string {
	var b strings.Builder
	g.Walk(func(g *Group) {
		fmt.Fprintf(&b, "%s", g.ID)
		if g.EnforceRole != nil {
			fmt.Fprintf(&b, " enforce=%v", *g.EnforceRole)
		}
		if len(g.Dependencies) > 0 {
			fmt.Fprintf(&b, " needs %v", g.Dependencies)
		}
		b.WriteString("\n")
		for _, a := range g.Apps {
			fmt.Fprintf(&b, "  %s x%d role=%s", a.ID, a.Instances, a.Role)
			if len(a.Dependencies) > 0 {
				fmt.Fprintf(&b, " needs %v", a.Dependencies)
			}
			b.WriteString("\n")
		}
	})
	return b.String()
}

func applied(t *testing.T, root *Group, base, body string) (*Group, *Error) {
	t.Helper()
	u, err := ReadGroup([]byte(body), base)
	if err != nil {
		return nil, err
	}
	return u.Apply(root, Settings{Role: "*"}, stamp(9))
}

const shop = `{"id": "/shop", "enforceRole": true, "dependencies": ["../infra"],
	"apps": [{"id": "web", "cmd": "x", "instances": 3, "dependencies": ["db", "../infra/dns", "/infra"]}, {"id": "/shop/db", "cmd": "x"}],
	"groups": [{"id": "jobs", "dependencies": ["../web"], "apps": [{"id": "nightly", "cmd": "x", "instances": 0}]}]}`

func TestGroups(t *testing.T) {
	root, err := applied(t, NewGroup("/"), "/", shop)
	if err != nil {
		t.Fatal(err)
	}
	const start = `/
/shop enforce=true needs [/infra]
  /shop/db x1 role=shop
  /shop/web x3 role=shop needs [/shop/db /infra/dns /infra]
/shop/jobs needs [/shop/web]
  /shop/jobs/nightly x0 role=shop
`
	if diff := cmp.Diff(start, tree(root)); diff != "" {
		t.Fatalf("-want +got\n%s", diff)
	}
	validates(t, "group.json", []byte(encode(t, root)))
	for _, c := range []struct{ name, base, body, want string }{
		{"its own answer", "/", encode(t, root.Find("/shop")), start},
		{"absent keys keep", "/shop", `{}`, start},
		{"empty keys clear", "/shop", `{"apps": [], "groups": [], "dependencies": []}`, "/\n/shop enforce=true\n"},
		{"groups without apps keep apps", "/shop", `{"groups": [{"id": "jobs"}, {"id": "new", "apps": [{"id": "a", "cmd": "x"}]}]}`, `/
/shop enforce=true needs [/infra]
  /shop/db x1 role=shop
  /shop/web x3 role=shop needs [/shop/db /infra/dns /infra]
/shop/jobs needs [/shop/web]
  /shop/jobs/nightly x0 role=shop
/shop/new
  /shop/new/a x1 role=shop
`},
		{"the groups between are made", "/x/y/z", `{"apps": [{"id": "a", "cmd": "x"}]}`, strings.TrimSuffix(start, "") + `/x enforce=false
/x/y
/x/y/z
  /x/y/z/a x1 role=*
`},
		{"scaled up, rounded up", "/shop", `{"scaleBy": 1.5}`, strings.NewReplacer("db x1", "db x2", "web x3", "web x5").Replace(start)},
		{"scaled to nothing", "/", `{"scaleBy": 0}`, strings.NewReplacer("db x1", "db x0", "web x3", "web x0").Replace(start)},
		{"role of the top group without enforcing it", "/y", `{"enforceRole": false, "apps": [{"id": "a", "cmd": "x", "role": "y"}]}`, start + `/y enforce=false
  /y/a x1 role=y
`},
		{"an unknown dependency", "/y", `{"apps": [{"id": "a", "cmd": "x", "dependencies": ["/nowhere"]}]}`, start + `/y enforce=false
  /y/a x1 role=* needs [/nowhere]
`},
		{"a circle", "/shop", `{"apps": [{"id": "web", "cmd": "x", "dependencies": ["db"]}, {"id": "db", "cmd": "x", "dependencies": ["web"]}]}`, `422 Object is not valid
/: Dependency graph has cyclic dependencies.
-  dependencies go in a circle: /shop/db needs /shop/web needs /shop/db → Remove one of these dependencies.
`},
		{"a circle through groups", "/shop", `{"dependencies": ["jobs"]}`, `422 Object is not valid
/: Dependency graph has cyclic dependencies.
-  dependencies go in a circle: /shop/db needs /shop needs /shop/jobs needs /shop/jobs/nightly needs /shop/jobs needs /shop/web needs /shop/db → Remove one of these dependencies.
`},
		{"everything that is wrong", "/shop", `{"pods": [{}], "color": 1, "enforceRole": false, "apps": [{"id": "web", "cmd": "x", "gpus": 1}, {"id": "web"}, {"id": "/other/a", "cmd": "x"}, {"id": "jobs", "cmd": "x"}],
			"groups": [{"id": "jobs", "enforceRole": true}, {"id": "/j", "scaleBy": 2}]}`, `422 Object is not valid
/pods: not supported in this version
/color: is not a known field
/groups(0)/enforceRole: enforceRole can only be set for top-level groups, and /shop/jobs is not top-level
/groups(1)/id: Identifier is not child of '/shop'
/groups(1): version and scaleBy are for the group of the request only
/apps(1)/id: app /shop/web is given twice
/apps(2)/id: Identifier is not child of '/shop'
/groups(0)/id: Groups and Applications may not have the same identifier.
/enforceRole: enforceRole cannot be modified in a request that adds, removes or modifies services; please make these changes in separate requests.
/apps(0)/gpus: GPUs are not supported in this version
/apps(1): AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.
`},
		{"shapes", "/shop", `{"apps": [{"cmd": 1}], "groups": [{}], "scaleBy": -1}`, `422 Invalid JSON
/scaleBy: error.min | not allowed in conjunction with other properties.
/apps(0)/cmd: error.expected.jsstring
/apps(0)/id: error.path.missing
/groups(0)/id: error.path.missing | Identifier is not child of '/shop'
`},
		{"app and group of one id", "/shop/web", `{"apps": []}`, `422 Object is not valid
/: Groups and Applications may not have the same identifier.
`},
		{"nothing to scale", "/none", `{"scaleBy": 2}`, `422 Object is not valid
/: Group '/none' does not exist
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, err := applied(t, root, c.base, c.body)
			var got string
			if err != nil {
				if got = lines(t, err); !strings.Contains(c.want, "\n- ") {
					got, _, _ = strings.Cut(got, "- ")
				}
			} else {
				got = tree(g)
				validates(t, "group.json", []byte(encode(t, g)))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if diff := cmp.Diff(start, tree(root)); diff != "" {
				t.Fatalf("the group before was changed: %s", diff)
			}
		})
	}
	if a, b := tree(root), tree(Tree(root.AllApps(), map[string]*Group{"/shop": root.Find("/shop"), "/shop/jobs": root.Find("/shop/jobs")})); a != b {
		t.Errorf("Tree: -want +got\n%s", cmp.Diff(a, b))
	}
}

// TestScaleBy rounds up as Marathon does, and keeps what may only be there once alone.
func TestScaleBy(t *testing.T) {
	g, err := applied(t, NewGroup("/"), "/", `{"apps": [{"id": "one", "cmd": "x", "labels": {"MARATHON_SINGLE_INSTANCE_APP": "true"},
		"upgradeStrategy": {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}}, {"id": "many", "cmd": "x", "instances": 100}]}`)
	if err != nil {
		t.Fatal(err)
	}
	_, err = applied(t, g, "/", `{"scaleBy": 1.1}`)
	const want = "422 Object is not valid\n/scaleBy: Single instance app may only have one instance\n- /scaleBy /one may only have one instance → Scale the other apps one by one, or remove the label MARATHON_SINGLE_INSTANCE_APP.\n"
	if err == nil || lines(t, err) != want {
		t.Errorf("%v", err)
	}
	many, err := applied(t, NewGroup("/"), "/", `{"apps": [{"id": "many", "cmd": "x", "instances": 100}]}`)
	if err != nil {
		t.Fatal(err)
	}
	if scaled, err := applied(t, many, "/", `{"scaleBy": 1.1}`); err != nil || scaled.App("/many").Instances != 111 { // 100 × 1.1 is 110.00000000000001
		t.Errorf("%v %v", scaled, err)
	}
}

func TestGroupSpecialBodies(t *testing.T) {
	for body, rollback := range map[string]bool{
		`{"version": "2026-01-01T00:00:07.000Z"}`:               true,
		`{"version": "2026-01-01T00:00:07.000Z", "scaleBy": 2}`: true,
		`{"version": "2026-01-01T00:00:07.000Z", "apps": []}`:   false,
		`{"id": "/g"}`: false,
	} {
		u, err := ReadGroup([]byte(body), "/g")
		if err != nil {
			t.Fatal(err)
		}
		if version, ok := u.Rollback(); ok != rollback || ok && version != stamp(7) {
			t.Errorf("%s: %v, %v", body, version, ok)
		}
	}
	enforce, err := ReadGroupPatch([]byte(`{"enforceRole": true}`), "/g")
	if err != nil || enforce == nil || !*enforce {
		t.Errorf("ReadGroupPatch = %v, %v", enforce, err)
	}
	for body, want := range map[string]string{
		`{"apps": []}`:          "Object is not valid: /apps is not a known field",
		`{"enforceRole": true}`: "Object is not valid: /enforceRole enforceRole can only be set for top-level groups, and /g/h is not top-level",
	} {
		if _, err := ReadGroupPatch([]byte(body), "g/h"); err == nil || err.Error() != want {
			t.Errorf("%s: %v", body, err)
		}
	}
	many := `{"apps": [` + strings.Repeat(`{"id":"a"},`, MaxApps) + `{"id": "a"}]}`
	if _, err := ReadGroup([]byte(many), "/"); err == nil || err.Status != 422 {
		t.Errorf("%d apps: %v", MaxApps+1, err)
	}
}

func TestPaths(t *testing.T) {
	for _, c := range [][3]string{
		{"a", "/", "/a"}, {"/a/b/", "/x", "/a/b"}, {"../b", "/x/y", "/x/b"}, {"../../../b", "/x", "/b"}, {"./b", "/x", "/x/b"}, {"", "/x", "/x"},
	} {
		if got := Canonical(c[0], c[1]); got != c[2] {
			t.Errorf("Canonical(%q, %q) = %q, want %q", c[0], c[1], got, c[2])
		}
	}
	for id, want := range map[string]string{"/": "/", "/a": "/", "/a/b": "/a", "/a/b/c": "/a/b"} {
		if got := Parent(id); got != want {
			t.Errorf("Parent(%q) = %q", id, got)
		}
	}
	for id, ok := range map[string]bool{
		"/a": true, "/a.b-c/d0": true, "/a-": false, "/-a": false, "/a..b": false, "/a_b": false, "/A": false, "/tasks": false,
		"/tasks/a": true, "/a/versions": false, "/é": false, "/a b": false,
	} {
		if text, _ := checkPath(id); (text == "") != ok {
			t.Errorf("checkPath(%q) = %q", id, text)
		}
	}
}

func TestLayers(t *testing.T) {
	root, err := applied(t, NewGroup("/"), "/", `{"groups": [`+shop+`, {"id": "infra", "apps": [{"id": "dns", "cmd": "x"}, {"id": "log", "cmd": "x", "dependencies": ["dns"]}]}]}`)
	if err != nil {
		t.Fatal(err)
	}
	layers, _ := Layers(root.AllApps(), root.AllDependencies())
	want := [][]string{{"/infra/dns"}, {"/infra/log"}, {"/shop/db"}, {"/shop/web"}, {"/shop/jobs/nightly"}}
	if diff := cmp.Diff(want, layers); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	self := map[string]*App{"/a": {ID: "/a", Dependencies: []string{"/a"}}}
	if err := CheckDependencies(self, nil); err == nil || err.Findings[0].Message != "dependencies go in a circle: /a needs /a" {
		t.Errorf("own dependency: %v", err)
	}
}

// TestLayersProperty: each app stands exactly one above the highest it needs.
func TestLayersProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 30).Draw(t, "apps")
		apps := map[string]*App{}
		var ids []string
		for i := range n {
			a := &App{ID: fmt.Sprintf("/g%d/a%d", i%3, i)}
			for range rapid.IntRange(0, min(i, 4)).Draw(t, "needs") {
				a.Dependencies = append(a.Dependencies, ids[rapid.IntRange(0, i-1).Draw(t, "need")])
			}
			apps[a.ID] = a
			ids = append(ids, a.ID)
		}
		layers, cycle := Layers(apps, nil)
		if cycle != nil {
			t.Fatalf("a circle where there is none: %v", cycle)
		}
		height := map[string]int{}
		for i, layer := range layers {
			for _, id := range layer {
				height[id] = i
			}
		}
		if len(height) != n {
			t.Fatalf("%d of %d apps are in layers", len(height), n)
		}
		for id, a := range apps {
			highest := -1
			for _, d := range a.Dependencies {
				highest = max(highest, height[d])
			}
			if height[id] != highest+1 {
				t.Fatalf("%s is in layer %d, needs %v", id, height[id], a.Dependencies)
			}
		}
		// Any edge back closes a circle, and it is named.
		top := layers[len(layers)-1][0]
		bottom := top
		for len(apps[bottom].Dependencies) > 0 {
			bottom = apps[bottom].Dependencies[0]
		}
		apps[bottom].Dependencies = []string{top}
		_, cycle = Layers(apps, nil)
		if len(cycle) < 2 || cycle[0] != cycle[len(cycle)-1] {
			t.Fatalf("circle = %v", cycle)
		}
		for i, id := range cycle[1:] {
			if !slices.Contains(apps[cycle[i]].Dependencies, id) {
				t.Fatalf("%s does not need %s", cycle[i], id)
			}
		}
	})
}

// TestLayersOfBigGroups: a group that needs a group is no square of edges.
func TestLayersOfBigGroups(t *testing.T) {
	apps := map[string]*App{}
	groups := map[string][]string{}
	for g := range 100 {
		for i := range 100 {
			id := fmt.Sprintf("/g%d/a%d", g, i)
			apps[id] = &App{ID: id}
		}
		if g > 0 {
			groups[fmt.Sprintf("/g%d", g)] = []string{fmt.Sprintf("/g%d", rand.IntN(g))}
		}
	}
	layers, cycle := Layers(apps, groups)
	if cycle != nil || len(layers) < 2 {
		t.Errorf("%d layers, circle %v", len(layers), cycle)
	}
}
