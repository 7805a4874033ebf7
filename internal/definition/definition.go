// Package definition reads what users ask for: cluster definitions in BDE's
// JSON words or ours, JSON or YAML, one or several clusters in a file. It keeps
// positions, fills in what the stack supplies, and returns every finding at
// once. It is pure and must not know the store, the server or drivers.
package definition

import (
	"fmt"
	"slices"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/document"
)

// Parsed is one cluster as written, with its place in the file.
type Parsed struct {
	Cluster api.Cluster
	Node    *document.Node

	wrong map[string]bool // addresses that have an error already
}

// Read reads a file. Several clusters stand in a list "clusters", in several
// YAML documents, or both.
func Read(file string, data []byte) ([]Parsed, api.Diagnostics) {
	doc, ds := document.Parse(file, data)
	if ds.HasErrors() {
		return nil, ds
	}
	if len(doc.Roots()) == 0 {
		return nil, append(ds, api.Diagnostic{Severity: api.SeverityError, Summary: file + " is empty", Detail: "write a cluster, or a list of them under clusters"})
	}
	var out []Parsed
	for _, root := range doc.Roots() {
		nodes := []*document.Node{root}
		if list := root.Get("clusters"); list.Exists() {
			for _, k := range root.Keys() {
				if k != "clusters" {
					ds = append(ds, document.KeyError(root.Get(k), "stands beside clusters", "A file is one cluster, or a list of them under clusters and nothing else."))
				}
			}
			if list.Kind() != document.List {
				ds = append(ds, document.Error(list, "is "+list.Kind().String()+"; a list is wanted", "Write one entry per cluster."))
				continue
			}
			nodes = list.Items()
		}
		for _, n := range nodes {
			p, more := readCluster(n)
			ds = append(ds, more...)
			out = append(out, p)
		}
	}
	ds = append(ds, clashes(out)...)
	slices.SortStableFunc(ds, inOrder)
	return out, ds
}

// readCluster decodes one cluster. Fields BDE has and this version does not
// act upon are errors of their own, never ignored.
func readCluster(n *document.Node) (Parsed, api.Diagnostics) {
	p := Parsed{Node: n}
	early := map[string]bool{}
	var ds api.Diagnostics
	unsupported(n, clusterLater, early, &ds)
	for _, g := range n.Get("nodeGroups").Items() {
		unsupported(g, groupLater, early, &ds)
		unsupported(g.Get("storage"), storageLater, early, &ds)
	}
	// What is too large needs no second finding that no number is so large.
	for _, found := range []api.Diagnostics{document.Check(n, api.Cluster{}), document.Decode(n, &p.Cluster)} {
		for _, d := range found {
			if !early[d.Address] {
				ds = append(ds, d)
			}
		}
		for _, d := range found {
			early[d.Address] = true
		}
	}
	p.wrong = early
	return p, ds
}

func unsupported(n *document.Node, later []string, early map[string]bool, ds *api.Diagnostics) {
	for key, v := range n.Entries() {
		if slices.Contains(later, key) {
			early[v.Address()] = true
			*ds = append(*ds, document.KeyError(v, "not supported in this version", "Take it out; nothing would act upon it."))
		}
	}
}

func clashes(ps []Parsed) api.Diagnostics {
	var ds api.Diagnostics
	seen := map[string]*document.Node{}
	for _, p := range ps {
		name := p.Cluster.Name
		if first := seen[name]; first != nil && name != "" {
			p.wrong[p.Node.At("name").Address()] = true
			ds = append(ds, document.Error(p.Node.At("name"), fmt.Sprintf("cluster %s is defined twice", name),
				fmt.Sprintf("It stands on line %d already; give one of them another name.", first.Position().Line)))
			continue
		}
		seen[name] = p.Node.At("name")
	}
	return ds
}

// Fields of BDE's cluster, node group and storage (reference bde.md 3.1-3.3)
// that a later version may act upon.
var (
	clusterLater = []string{
		"appManager", "distro", "distroVendor", "distroVersion", "rpNames", "dsNames", "networkConfig", "topologyPolicy",
		"infrastructure_config", "externalMapReduce", "externalNamenode", "externalSecondaryNamenode", "externalDatanodes",
		"password", "localRepoURL", "templateName", "clusterCloneType", "hostnamePrefix", "httpProxy", "noProxy", "vcClusters",
		"validateConfig", "specFile", "deployPolicy", "networkNames", "networkings", "hostToRackMap",
	}
	groupLater = []string{
		"swapRatio", "haFlag", "placementPolicies", "rpNames", "latencySensitivity", "reservedCpuRatio", "reservedMemRatio", "vmFolderPath",
	}
	storageLater = []string{
		"dsNames", "dsNames4System", "dsNames4Data", "diskNum", "shareDatastore", "shares", "splitPolicy", "controllerType", "allocType",
		"diskstoreNamePattern", "imagestoreNamePattern",
	}
)
