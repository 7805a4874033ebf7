package api

import "fmt"

// Project is a tenant: it owns clusters.
type Project struct {
	Name     string `json:"name" doc:"Name of the project"`
	Clusters int    `json:"clusters" doc:"Clusters it owns"`
	Has      Quota  `json:"has" doc:"What its clusters take, or were accepted to take"`
	Quota    Quota  `json:"quota" doc:"What it may have; 0 is no bound"`
}

// Quota counts what clusters take.
type Quota struct {
	Nodes    int `json:"nodes" minimum:"0" maximum:"1000000000" doc:"Nodes"`
	Cores    int `json:"cores" minimum:"0" maximum:"1000000000" doc:"Cores of all nodes together"`
	MemoryMB int `json:"memoryMB" minimum:"0" maximum:"1000000000000" doc:"Memory of all nodes together, in MiB"`
}

// String says what may be had, in words.
func (q Quota) String() string {
	return fmt.Sprintf("%s nodes, %s cores, %s MiB of memory", bound(q.Nodes), bound(q.Cores), bound(q.MemoryMB))
}

func bound(n int) string {
	if n == 0 {
		return "any number of"
	}
	return fmt.Sprint(n)
}
