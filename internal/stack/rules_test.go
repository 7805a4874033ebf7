package stack_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/stack"
)

// configuration is user configuration of the file toy/a.
func configuration(set map[string]string) api.Configuration {
	if set == nil {
		return nil
	}
	keys := map[string]api.Text{}
	for k, v := range set {
		keys[k] = api.Text(v)
	}
	return api.Configuration{"toy": {"a": keys}}
}

// counted is a cluster of role=count pairs, one group each.
func counted(name, roles string) api.Cluster {
	c := api.Cluster{Name: "c", Stack: name}
	for pair := range strings.FieldsSeq(roles) {
		role, n, _ := strings.Cut(pair, "=")
		g := api.NodeGroup{Name: role, Roles: strings.Split(role, "+"), MemCapacityMB: 512, CPUNum: 1}
		if _, err := fmt.Sscan(n, &g.InstanceNum); err != nil {
			panic(err)
		}
		c.NodeGroups = append(c.NodeGroups, g)
	}
	return c
}

func TestProblems(t *testing.T) {
	stacks := builtin(t)
	for _, tt := range []struct {
		stack, roles string
		want         []string
	}{
		{"hdfs", "hadoop_namenode=1 hadoop_datanode=3", nil},
		{"hdfs", "hadoop_namenode+hadoop_datanode=1", nil},
		{"hdfs", "hadoop_namenode=2 hadoop_datanode=3", []string{"hadoop_namenode instanceNum: 2 NameNodes need high availability, which this version does not have; set instanceNum to 1"}},
		{"hdfs", "hadoop_namenode=1", []string{"hadoop_namenode roles: role hadoop_namenode needs a node with role hadoop_datanode"}},
		{"hdfs", "hadoop_datanode=2 hadoop_namenode=0", []string{"hadoop_datanode roles: role hadoop_datanode needs a node with role hadoop_namenode"}},
		{"hdfs", "hadoop_namenode=0 hadoop_datanode=0", []string{" : the cluster has no nodes"}},
		{"yarn", "hadoop_resourcemanager=2 hadoop_nodemanager=1", []string{
			"hadoop_resourcemanager instanceNum: 2 ResourceManagers need high availability, which this version does not have; set instanceNum to 1",
			" : the role hadoop_jobhistory is missing; add it to the group of hadoop_resourcemanager",
		}},
		{"zookeeper", "zookeeper=1", nil},
		{"zookeeper", "zookeeper=2", []string{"zookeeper instanceNum: ZooKeeper needs 1 or at least 3 nodes; 2 asked"}},
		{"zookeeper", "zookeeper=3", nil},
		{"storm", "storm_nimbus=2 storm_supervisor=1 zookeeper=1", []string{"storm_nimbus instanceNum: 2 nimbus nodes asked; this version runs one"}},
		{"storm", "storm_nimbus=1", []string{
			"storm_nimbus roles: role storm_nimbus needs a node with role zookeeper", "storm_nimbus roles: role storm_nimbus needs a node with role storm_supervisor",
		}},
	} {
		s, _ := stacks.Get(tt.stack)
		var got []string
		for _, p := range s.Problems(counted(tt.stack, tt.roles)) {
			got = append(got, p.Role+" "+p.Field+": "+p.Message)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s with %s (-want +got):\n%s", tt.stack, tt.roles, diff)
		}
	}
}

func TestRemovable(t *testing.T) {
	stacks := builtin(t)
	for _, tt := range []struct{ stack, roles, node, want string }{
		{"hdfs", "hadoop_namenode=1 hadoop_datanode=4", "hadoop_datanode", ""},
		{"hdfs", "hadoop_namenode=1 hadoop_datanode=3", "hadoop_datanode", "files keep up to 3 copies, and 3 DataNodes hold them: removing hadoop_datanode-1 leaves too few"},
		{"hdfs", "hadoop_namenode=1 hadoop_datanode=4", "hadoop_namenode", "the NameNode holds the names of all files and cannot be removed"},
		{"yarn", "hadoop_resourcemanager=1 hadoop_jobhistory=1 hadoop_nodemanager=2", "hadoop_nodemanager", ""},
		{"zookeeper", "zookeeper=3", "zookeeper", "removing zookeeper-1 breaks the quorum of 3"},
		{"zookeeper", "zookeeper=5", "zookeeper", ""},
		{"storm", "storm_nimbus=1 storm_supervisor=1 zookeeper=1", "storm_supervisor", "storm_supervisor-1 is the only supervisor; without it no topology runs"},
		{"storm", "storm_nimbus=1 storm_supervisor=2 zookeeper=1", "storm_supervisor", ""},
	} {
		s, _ := stacks.Get(tt.stack)
		c := counted(tt.stack, tt.roles)
		rev := &stack.Revision{Cluster: c}
		for _, g := range c.NodeGroups {
			for i := range g.InstanceNum {
				rev.Members = append(rev.Members, stack.Member{Name: fmt.Sprintf("%s-%d", g.Name, i+1), Group: g.Name, Ordinal: i + 1, Roles: g.Roles})
			}
		}
		m, _ := rev.Member(tt.node + "-1")
		ok, why := stack.NewRenderer(s, rev, nil).Removable(m)
		if ok != (tt.want == "") || why != tt.want {
			t.Errorf("%s of %s: %v %q, want %q", tt.node, tt.roles, ok, why, tt.want)
		}
	}
}

// TestLocked: a locked key stays Howdah's, whoever wrote the revision.
func TestLocked(t *testing.T) {
	s, _ := builtin(t).Get("zookeeper")
	rev := &stack.Revision{Members: []stack.Member{{Name: "n", Group: "g", Ordinal: 1, Roles: []string{"zookeeper"}, Address: "127.0.0.1"}}}
	rev.Cluster.Configuration = api.Configuration{"zookeeper": {"zoo.cfg": {"clientPort": "99", "tickTime": "1234"}}}
	as, err := stack.NewRenderer(s, rev, nil).Assignment("n", host("n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range as.Services[0].Files {
		if f.Name == "conf/zoo.cfg" && (!strings.Contains(f.Content, "clientPort=2181\n") || !strings.Contains(f.Content, "tickTime=1234\n")) {
			t.Errorf("conf/zoo.cfg:\n%s", f.Content)
		}
	}
	want := []string{"clientPort", "clientPortAddress", "dataDir", "admin.serverAddress"}
	if diff := cmp.Diff(want, s.UserFiles()["zookeeper/zoo.cfg"]); diff != "" {
		t.Error(diff)
	}
}
