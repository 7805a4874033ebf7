package storm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"howdah.dev/howdah/internal/adapter/storm/nimbusthrift"
)

var errNoSupervisor = errors.New("no such supervisor")

type webClusterSummary struct {
	User                     *string        `json:"user"`
	StormVersion             string         `json:"stormVersion"`
	StormVersionInfo         webVersionInfo `json:"stormVersionInfo"`
	Supervisors              int            `json:"supervisors"`
	Topologies               int            `json:"topologies"`
	SlotsTotal               int            `json:"slotsTotal"`
	SlotsUsed                int            `json:"slotsUsed"`
	SlotsFree                int            `json:"slotsFree"`
	ExecutorsTotal           int            `json:"executorsTotal"`
	TasksTotal               int            `json:"tasksTotal"`
	SchedulerDisplayResource bool           `json:"schedulerDisplayResource"`
	TotalMem                 float64        `json:"totalMem"`
	TotalCPU                 float64        `json:"totalCpu"`
	AvailMem                 float64        `json:"availMem"`
	AvailCPU                 float64        `json:"availCpu"`
	FragmentedMem            float64        `json:"fragmentedMem"`
	FragmentedCPU            float64        `json:"fragmentedCpu"`
	AvailGenerics            string         `json:"availGenerics"`
	TotalGenerics            string         `json:"totalGenerics"`
	MemAssignedPercentUtil   string         `json:"memAssignedPercentUtil"`
	CPUAssignedPercentUtil   string         `json:"cpuAssignedPercentUtil"`
	Bugtracker               *string        `json:"bugtracker-url"`
	CentralLog               *string        `json:"central-log-url"`
}

// webVersionInfo says Unknown, as Storm does, of what Thrift does not tell.
type webVersionInfo struct {
	Version     string `json:"version"`
	Revision    string `json:"revision"`
	Branch      string `json:"branch"`
	Date        string `json:"date"`
	SrcChecksum string `json:"srcChecksum"`
}

type webNimbus struct {
	Host string `json:"host"`
	// Port and the times are numbers, or text of a nimbus that is away.
	Port          any    `json:"port"`
	Status        string `json:"status"`
	Version       string `json:"version"`
	UptimeSeconds any    `json:"nimbusUpTimeSeconds"`
	Uptime        string `json:"nimbusUpTime"`
	LogLink       string `json:"nimbusLogLink"`
}

type webSupervisorSummary struct {
	ID            string  `json:"id"`
	Host          string  `json:"host"`
	Uptime        string  `json:"uptime"`
	UptimeSeconds int     `json:"uptimeSeconds"`
	SlotsTotal    int     `json:"slotsTotal"`
	SlotsUsed     int     `json:"slotsUsed"`
	SlotsFree     int     `json:"slotsFree"`
	TotalMem      float64 `json:"totalMem"`
	UsedMem       float64 `json:"usedMem"`
	AvailMem      float64 `json:"availMem"`
	TotalCPU      float64 `json:"totalCpu"`
	UsedCPU       float64 `json:"usedCpu"`
	AvailCPU      float64 `json:"availCpu"`
	TotalGeneric  string  `json:"totalGenericResources"`
	UsedGeneric   string  `json:"usedGenericResources"`
	AvailGeneric  string  `json:"availGenericResources"`
	Version       string  `json:"version"`
	Blacklisted   bool    `json:"blacklisted"`
	LogLink       string  `json:"logLink"`
}

// webLogviewer is where the UI looks for logs; nothing of Howdah listens there.
type webLogviewer struct {
	Port   int    `json:"logviewerPort"`
	Scheme string `json:"logviewerScheme"`
}

type webOwnerSummary struct {
	Owner                    string  `json:"owner"`
	TotalTopologies          int32   `json:"totalTopologies"`
	TotalExecutors           int32   `json:"totalExecutors"`
	TotalWorkers             int32   `json:"totalWorkers"`
	TotalTasks               int32   `json:"totalTasks"`
	TotalMemoryUsage         float64 `json:"totalMemoryUsage"`
	TotalCPUUsage            float64 `json:"totalCpuUsage"`
	MemoryGuarantee          any     `json:"memoryGuarantee"` // a number or N/A
	CPUGuarantee             any     `json:"cpuGuarantee"`
	IsolatedNodes            int32   `json:"isolatedNodes"` // -1 for none
	MemoryGuaranteeRemaining any     `json:"memoryGuaranteeRemaining"`
	CPUGuaranteeRemaining    any     `json:"cpuGuaranteeRemaining"`
	TotalReqOnHeapMem        float64 `json:"totalReqOnHeapMem"`
	TotalReqOffHeapMem       float64 `json:"totalReqOffHeapMem"`
	TotalReqMem              float64 `json:"totalReqMem"`
	TotalReqCPU              float64 `json:"totalReqCpu"`
	TotalAssignedOnHeapMem   float64 `json:"totalAssignedOnHeapMem"`
	TotalAssignedOffHeapMem  float64 `json:"totalAssignedOffHeapMem"`
}

// clusterAndConf reads what most summaries are made of.
func (c *Client) clusterAndConf(r *http.Request) (*nimbusthrift.ClusterSummary, webConf, error) {
	var sum *nimbusthrift.ClusterSummary
	conf, err := c.ask(r.Context(), func(ctx context.Context, n *nimbusthrift.NimbusClient) (err error) {
		sum, err = n.GetClusterInfo(ctx)
		return err
	})
	if err != nil {
		return nil, conf, fmt.Errorf("cannot read Storm cluster: %w", err)
	}
	return sum, conf, nil
}

func (c *Client) webConfiguration(r *http.Request) (any, error) {
	var text string
	err := c.query(r.Context(), func(ctx context.Context, n *nimbusthrift.NimbusClient) (err error) {
		text, err = n.GetNimbusConf(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read nimbus's configuration: %w", err)
	}
	return configuration(text)
}

// configuration hides what a key calls a secret.
func configuration(text string) (map[string]json.RawMessage, error) {
	var conf map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &conf); err != nil {
		return nil, fmt.Errorf("cannot read configuration: %w", err)
	}
	for key, value := range conf {
		if secretKey(key) && len(value) > 0 && value[0] == '"' {
			conf[key] = json.RawMessage(`"***"`)
		}
	}
	return conf, nil
}

func secretKey(key string) bool {
	key = strings.ToLower(key)
	return slices.ContainsFunc([]string{"password", "passwd", "secret", "auth.payload", "credential"}, func(word string) bool {
		return strings.Contains(key, word)
	})
}

func (c *Client) webCluster(r *http.Request) (any, error) {
	sum, conf, err := c.clusterAndConf(r)
	if err != nil {
		return nil, err
	}
	out := webClusterSummary{
		StormVersion: versionOf(sum), Supervisors: len(sum.Supervisors), Topologies: len(sum.Topologies),
		SchedulerDisplayResource: conf.DisplayResource, Bugtracker: conf.Bugtracker, CentralLog: conf.CentralLog,
	}
	out.StormVersionInfo = webVersionInfo{out.StormVersion, "Unknown", "Unknown", "Unknown", "Unknown"}
	var usedMem, usedCPU float64
	total, avail := map[string]float64{}, map[string]float64{}
	for _, s := range sum.Supervisors {
		one := supervisorOf(s)
		out.SlotsTotal += one.Slots
		out.SlotsUsed += one.Used
		out.TotalMem += one.MemoryMB
		out.TotalCPU += one.CPU
		out.FragmentedMem += s.GetFragmentedMem()
		out.FragmentedCPU += s.GetFragmentedCPU()
		usedMem += one.UsedMemory
		usedCPU += one.UsedCPU
		for name, n := range s.TotalResources {
			total[name] += n
			avail[name] += n - s.UsedGenericResources[name]
		}
	}
	for _, t := range sum.Topologies {
		out.ExecutorsTotal += int(t.NumExecutors)
		out.TasksTotal += int(t.NumTasks)
	}
	out.SlotsFree = out.SlotsTotal - out.SlotsUsed
	out.AvailMem, out.AvailCPU = out.TotalMem-usedMem, out.TotalCPU-usedCPU
	out.TotalGenerics, out.AvailGenerics = generics(total), generics(avail)
	out.MemAssignedPercentUtil, out.CPUAssignedPercentUtil = percent(usedMem, out.TotalMem), percent(usedCPU, out.TotalCPU)
	return out, nil
}

// versionOf is the leader's version.
func versionOf(sum *nimbusthrift.ClusterSummary) string {
	version := ""
	for _, n := range sum.Nimbuses {
		if n.IsLeader || version == "" {
			version = n.Version
		}
	}
	return version
}

func percent(used, total float64) string {
	if total <= 0 {
		return "0.0"
	}
	return float3(used * 100 / total)
}

// float3 writes latencies and shares as the UI does.
func float3(f float64) string { return strconv.FormatFloat(f, 'f', 3, 64) }

// basicResources are those with fields of their own.
var basicResources = []string{
	"onheap.memory.mb", "offheap.memory.mb", "memory.mb", "cpu.pcore.percent", "supervisor.memory.capacity.mb", "supervisor.cpu.capacity",
}

// generics lists further resources, such as gpu.count=2.0.
func generics(m map[string]float64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if slices.Contains(basicResources, name) {
			continue
		}
		n := strconv.FormatFloat(m[name], 'f', -1, 64)
		if !strings.Contains(n, ".") {
			n += ".0"
		}
		parts = append(parts, name+"="+n)
	}
	return strings.Join(parts, " ")
}

func (c *Client) webNimbuses(r *http.Request) (any, error) {
	sum, conf, err := c.clusterAndConf(r)
	if err != nil {
		return nil, err
	}
	out := []webNimbus{}
	for _, n := range sum.Nimbuses {
		status := "Not a Leader"
		if n.IsLeader {
			status = "Leader"
		}
		out = append(out, webNimbus{
			Host: n.Host, Port: n.Port, Status: status, Version: n.Version,
			UptimeSeconds: n.UptimeSecs, Uptime: prettyUptime(int(n.UptimeSecs)),
		})
		conf.Seeds = slices.DeleteFunc(conf.Seeds, func(seed string) bool { return seed == n.Host && conf.ThriftPort == int(n.Port) })
	}
	for _, seed := range conf.Seeds {
		const none = "Not applicable"
		out = append(out, webNimbus{Host: seed, Port: strconv.Itoa(conf.ThriftPort), Status: "Offline", Version: none, UptimeSeconds: none, Uptime: none})
	}
	return map[string]any{"nimbuses": out}, nil
}

func (c *Client) webHistory(r *http.Request) (any, error) {
	var got *nimbusthrift.TopologyHistoryInfo
	err := c.query(r.Context(), func(ctx context.Context, n *nimbusthrift.NimbusClient) (err error) {
		got, err = n.GetTopologyHistory(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the history of topologies: %w", err)
	}
	ids := append([]string{}, got.TopoIds...)
	slices.Sort(ids)
	return map[string]any{"topo-history": ids}, nil
}

func (c *Client) owners(r *http.Request) ([]webOwnerSummary, *nimbusthrift.ClusterSummary, webConf, error) {
	var (
		got []*nimbusthrift.OwnerResourceSummary
		sum *nimbusthrift.ClusterSummary
	)
	conf, err := c.ask(r.Context(), func(ctx context.Context, n *nimbusthrift.NimbusClient) (err error) {
		if got, err = n.GetOwnerResourceSummaries(ctx); err != nil {
			return err
		}
		sum, err = n.GetClusterInfo(ctx)
		return err
	})
	if err != nil {
		return nil, nil, conf, fmt.Errorf("cannot read what owners use: %w", err)
	}
	out := []webOwnerSummary{}
	for _, o := range got {
		out = append(out, ownerOf(o))
	}
	slices.SortFunc(out, func(a, b webOwnerSummary) int { return strings.Compare(a.Owner, b.Owner) })
	return out, sum, conf, nil
}

func ownerOf(o *nimbusthrift.OwnerResourceSummary) webOwnerSummary {
	known := func(f *float64) any {
		if f == nil || *f == -1 {
			return "N/A"
		}
		return *f
	}
	isolated := int32(-1)
	if o.IsolatedNodeGuarantee != nil {
		isolated = *o.IsolatedNodeGuarantee
	}
	return webOwnerSummary{
		Owner: o.Owner, TotalTopologies: o.GetTotalTopologies(), TotalExecutors: o.GetTotalExecutors(), TotalWorkers: o.GetTotalWorkers(),
		TotalTasks: o.GetTotalTasks(), TotalMemoryUsage: o.GetMemoryUsage(), TotalCPUUsage: o.GetCPUUsage(), IsolatedNodes: isolated,
		MemoryGuarantee: known(o.MemoryGuarantee), CPUGuarantee: known(o.CPUGuarantee),
		MemoryGuaranteeRemaining: known(o.MemoryGuaranteeRemaining), CPUGuaranteeRemaining: known(o.CPUGuaranteeRemaining),
		TotalReqOnHeapMem: o.GetRequestedOnHeapMemory(), TotalReqOffHeapMem: o.GetRequestedOffHeapMemory(),
		TotalReqMem: o.GetRequestedTotalMemory(), TotalReqCPU: o.GetRequestedCPU(),
		TotalAssignedOnHeapMem: o.GetAssignedOnHeapMemory(), TotalAssignedOffHeapMem: o.GetAssignedOffHeapMemory(),
	}
}

func (c *Client) webOwners(r *http.Request) (any, error) {
	owners, _, conf, err := c.owners(r)
	if err != nil {
		return nil, err
	}
	return map[string]any{"owners": owners, "schedulerDisplayResource": conf.DisplayResource}, nil
}

// webOwner answers one owner and its topologies; one that has none uses nothing.
func (c *Client) webOwner(r *http.Request) (any, error) {
	owners, sum, conf, err := c.owners(r)
	if err != nil {
		return nil, err
	}
	var out struct {
		webOwnerSummary
		DisplayResource bool                 `json:"schedulerDisplayResource"`
		Topologies      []webTopologySummary `json:"topologies"`
	}
	out.DisplayResource, out.Topologies = conf.DisplayResource, []webTopologySummary{}
	out.webOwnerSummary = ownerOf(&nimbusthrift.OwnerResourceSummary{Owner: r.PathValue("id")})
	for _, o := range owners {
		if o.Owner == r.PathValue("id") {
			out.webOwnerSummary = o
		}
	}
	for _, t := range sum.Topologies {
		if t.GetOwner() == r.PathValue("id") {
			out.Topologies = append(out.Topologies, webTopologySummaryOf(t))
		}
	}
	return out, nil
}

func (c *Client) webSupervisors(r *http.Request) (any, error) {
	sum, conf, err := c.clusterAndConf(r)
	if err != nil {
		return nil, err
	}
	var out struct {
		webLogviewer
		Supervisors     []webSupervisorSummary `json:"supervisors"`
		DisplayResource bool                   `json:"schedulerDisplayResource"`
	}
	out.webLogviewer, out.DisplayResource = conf.logviewer(), conf.DisplayResource
	out.Supervisors = []webSupervisorSummary{}
	for _, s := range sum.Supervisors {
		out.Supervisors = append(out.Supervisors, webSupervisorOf(s))
	}
	return out, nil
}

func (c webConf) logviewer() webLogviewer { return webLogviewer{Port: c.LogviewerPort, Scheme: "http"} }

func webSupervisorOf(s *nimbusthrift.SupervisorSummary) webSupervisorSummary {
	one := supervisorOf(s)
	avail := map[string]float64{}
	for name, n := range s.TotalResources {
		avail[name] = n - s.UsedGenericResources[name]
	}
	return webSupervisorSummary{
		ID: one.ID, Host: one.Host, Uptime: prettyUptime(int(s.UptimeSecs)), UptimeSeconds: int(s.UptimeSecs),
		SlotsTotal: one.Slots, SlotsUsed: one.Used, SlotsFree: max(0, one.Slots-one.Used),
		TotalMem: one.MemoryMB, UsedMem: one.UsedMemory, AvailMem: one.MemoryMB - one.UsedMemory,
		TotalCPU: one.CPU, UsedCPU: one.UsedCPU, AvailCPU: one.CPU - one.UsedCPU,
		TotalGeneric: generics(s.TotalResources), UsedGeneric: generics(s.UsedGenericResources), AvailGeneric: generics(avail),
		Version: one.Version, Blacklisted: one.Blacklisted,
	}
}

// webSupervisor answers a supervisor by id, or those of a host.
func (c *Client) webSupervisor(r *http.Request) (any, error) {
	sys, err := sysOf(r)
	if err != nil {
		return nil, err
	}
	id, host := r.URL.Query().Get("id"), r.URL.Query().Get("host")
	if id == "" && host == "" {
		return nil, badRequest("say which supervisor: id= or host=")
	}
	var pages []*nimbusthrift.SupervisorPageInfo
	conf, err := c.ask(r.Context(), func(ctx context.Context, n *nimbusthrift.NimbusClient) error {
		sum, err := n.GetClusterInfo(ctx) // nimbus fails over one it does not know
		if err != nil {
			return err
		}
		for _, s := range sum.Supervisors {
			if s.SupervisorID != id && (id != "" || s.Host != host) {
				continue
			}
			page, err := n.GetSupervisorPageInfo(ctx, s.SupervisorID, sys)
			if err != nil {
				return err
			}
			pages = append(pages, page)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read supervisor %s: %w", id+host, err)
	}
	if len(pages) == 0 {
		return nil, fmt.Errorf("cannot read supervisor %s: %w", id+host, errNoSupervisor)
	}
	var out struct {
		webLogviewer
		Supervisors     []webSupervisorSummary `json:"supervisors"`
		Workers         []webWorker            `json:"workers"`
		DisplayResource bool                   `json:"schedulerDisplayResource"`
	}
	out.webLogviewer, out.DisplayResource, out.Workers = conf.logviewer(), conf.DisplayResource, []webWorker{}
	for _, page := range pages {
		for _, s := range page.SupervisorSummaries {
			out.Supervisors = append(out.Supervisors, webSupervisorOf(s))
		}
		for _, w := range page.WorkerSummaries {
			out.Workers = append(out.Workers, webWorkerOf(w))
		}
	}
	return out, nil
}
