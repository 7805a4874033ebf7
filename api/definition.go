package api

// Text is a configuration value. Users may write a string, a number or a
// boolean; the characters are kept as they were written.
type Text string

// Configuration is what users set in a program's own files: service, then
// file, then key. BDE's dialect fixes the shape.
type Configuration map[string]map[string]map[string]Text

// Definition is one file: any number of clusters.
type Definition struct {
	Clusters []Cluster `json:"clusters" doc:"The clusters this file defines"`
}

// Cluster is what a user asks for. The words are BDE's (Serengeti JSON),
// extended by stack, links and infrastructure.
type Cluster struct {
	Name           string            `json:"name" pattern:"^[a-z][a-z0-9_-]{0,39}$" doc:"Name of the cluster, unique in the installation"`
	Type           string            `json:"type,omitempty" doc:"BDE cluster type (HDFS, HDFS_MAPRED, ...); chooses a stack where none is named"`
	Stack          string            `json:"stack,omitempty" doc:"Kind of cluster: the name of a stack (howdah stack show lists them)"`
	Infrastructure string            `json:"infrastructure,omitempty" doc:"Where its nodes are made; local by default"`
	Project        string            `json:"project,omitempty" pattern:"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" maxLength:"63" doc:"Project that owns it; that of who applies it where absent"`
	SharedWith     []string          `json:"sharedWith,omitempty" pattern:"^([*]|[a-z0-9]([a-z0-9-]*[a-z0-9])?)$" doc:"Other projects whose clusters may link to this one; * is all"`
	Links          map[string]string `json:"links,omitempty" doc:"Clusters this one uses: link name to cluster name"`
	ExternalHDFS   string            `json:"externalHDFS,omitempty" pattern:"^hdfs://[^/ ]+$" doc:"Address of an HDFS that Howdah does not manage, as hdfs://host:port"`
	TTL            string            `json:"ttl,omitempty" doc:"Time to live, such as 8h: the cluster is deleted when it ends; for ever where absent"`
	Configuration  Configuration     `json:"configuration,omitempty" doc:"Values for the programs' own files: service, file, key"`
	NodeGroups     []NodeGroup       `json:"nodeGroups,omitempty" doc:"The groups of nodes; the stack's default groups where absent"`
}

// NodeGroup is a number of equal nodes and the roles they carry.
type NodeGroup struct {
	Name          string        `json:"name" pattern:"^[a-zA-Z0-9]{1,80}$" doc:"Name of the group, unique in the cluster"`
	Roles         []string      `json:"roles" doc:"What each node of the group does"`
	InstanceNum   int           `json:"instanceNum" minimum:"0" maximum:"10000" doc:"Number of nodes"`
	MinInstances  int           `json:"minInstances,omitempty" minimum:"1" maximum:"10000" doc:"Number of nodes the cluster gets along with; all where absent. The others are tried again until they are there"`
	InstanceType  string        `json:"instanceType,omitempty" enum:"SMALL,MEDIUM,LARGE,EXTRA_LARGE" doc:"Size of a node: SMALL 1 core and 3,748 MB, MEDIUM 2 and 7,500, LARGE 4 and 15,000, EXTRA_LARGE 8 and 30,000"`
	CPUNum        int           `json:"cpuNum,omitempty" minimum:"1" maximum:"65536" doc:"Cores of a node; goes before instanceType"`
	MemCapacityMB int           `json:"memCapacityMB,omitempty" minimum:"1" maximum:"1073741824" doc:"Memory of a node in MiB; goes before instanceType"`
	Storage       *Storage      `json:"storage,omitempty" doc:"Disk of a node"`
	Configuration Configuration `json:"configuration,omitempty" doc:"As the cluster's configuration, for this group; goes before it"`
}

// Storage is the disk of each node of a group.
type Storage struct {
	Type   string `json:"type,omitempty" enum:"LOCAL,SHARED" doc:"LOCAL or SHARED; the local infrastructure has LOCAL only"`
	SizeGB int    `json:"sizeGB,omitempty" minimum:"1" maximum:"1073741824" doc:"Disk reserved for a node, in GiB"`
}
