package app

import "slices"

// Layers orders apps by their dependencies: each stands one layer above the highest
// app it needs (longest path), so what is in one layer may change at once. Both the
// apps' own dependencies count and those of the groups they are in; who depends on a
// group depends on every app in it. What does not exist is no dependency. groups has
// the dependencies of each group by id. If dependencies go in a circle, layers is nil
// and cycle names the ids along it, the first one repeated at the end.
func Layers(apps map[string]*App, groups map[string][]string) (layers [][]string, cycle []string) {
	g := &graph{apps: apps, groups: groups, below: map[string][]string{}, height: map[string]int{}, path: map[string]int{}}
	for id := range apps {
		for parent := Parent(id); ; parent = Parent(parent) {
			g.below[parent] = append(g.below[parent], id)
			if parent == "/" {
				break
			}
		}
	}
	ids := make([]string, 0, len(apps))
	for id := range apps {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		height := g.visit(appNode(id))
		if g.cycle != nil {
			return nil, g.cycle
		}
		for len(layers) < height {
			layers = append(layers, nil)
		}
		layers[height-1] = append(layers[height-1], id)
	}
	return layers, nil
}

// Nodes of the graph. Groups stand between apps, so that two groups of a thousand
// apps each are two thousand edges and not a million.
func appNode(id string) string   { return "a" + id }
func allOfNode(id string) string { return "g" + id } // needs all apps in the group
func needsNode(id string) string { return "n" + id } // needs what the group needs

type graph struct {
	apps   map[string]*App
	groups map[string][]string
	below  map[string][]string // apps at or below a group
	height map[string]int
	path   map[string]int // nodes on the way to the present one, with their position
	stack  []string
	cycle  []string
}

// visit returns the longest path down from a node, counted in apps.
func (g *graph) visit(n string) int {
	if h, ok := g.height[n]; ok || g.cycle != nil {
		return h
	}
	if i, ok := g.path[n]; ok {
		g.circle(append(slices.Clone(g.stack[i:]), n))
		return 0
	}
	g.path[n] = len(g.stack)
	g.stack = append(g.stack, n)
	highest := 0
	for _, next := range g.edges(n) {
		highest = max(highest, g.visit(next))
	}
	g.stack = g.stack[:len(g.stack)-1]
	delete(g.path, n)
	if n[0] == 'a' {
		highest++
	}
	g.height[n] = highest
	return highest
}

func (g *graph) circle(nodes []string) {
	for _, n := range nodes {
		if id := n[1:]; len(g.cycle) == 0 || g.cycle[len(g.cycle)-1] != id {
			g.cycle = append(g.cycle, id)
		}
	}
	if len(g.cycle) == 1 {
		g.cycle = append(g.cycle, g.cycle[0])
	}
}

func (g *graph) edges(n string) []string {
	id := n[1:]
	var out []string
	switch n[0] {
	case 'a':
		for _, d := range g.apps[id].Dependencies {
			out = append(out, g.target(d)...)
		}
		for parent := Parent(id); ; parent = Parent(parent) {
			if len(g.groups[parent]) > 0 {
				out = append(out, needsNode(parent))
			}
			if parent == "/" {
				break
			}
		}
	case 'g':
		for _, a := range g.below[id] {
			out = append(out, appNode(a))
		}
	default:
		for _, d := range g.groups[id] {
			out = append(out, g.target(d)...)
		}
	}
	return out
}

func (g *graph) target(id string) []string {
	if g.apps[id] != nil {
		return []string{appNode(id)}
	}
	if len(g.below[id]) > 0 {
		return []string{allOfNode(id)}
	}
	return nil
}
