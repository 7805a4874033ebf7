package policy

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/mesos"
)

// Kind is a kind of thing that can be asked for.
type Kind int

// The kinds of things that are asked for.
const (
	AskPrivileged  Kind = iota
	AskHostNetwork      // the network of the worker
	AskHostVolume       // Value is a path of the host
	AskMountPoint       // Value is a path in the container
	AskSandboxPath      // Value is where a fetched file is put
	AskParameter        // Value is key=value of "docker run"
	AskUser             // Value is a name or number
	AskFetch            // Value is a URI
	AskDataset          // Value is a path of the warehouse
	AskImage            // Value is the name of an image
	AskSecret           // Value is the source of a secret
)

// Ask is one thing asked for, and where.
type Ask struct {
	Kind    Kind
	Value   string
	Pointer string // JSON pointer into what the wish was made from
}

// Wish is all that an app or task asks for beyond its resources, whatever API it
// came through.
type Wish struct {
	Plain  bool   // a command without an image
	TaskID string // of a task; empty for an app
	Asks   []Ask
}

func (w *Wish) ask(k Kind, value, pointer string) {
	w.Asks = append(w.Asks, Ask{k, value, pointer})
}

// askText asks for what is not empty.
func (w *Wish) askText(k Kind, value, pointer string) {
	if value != "" {
		w.ask(k, value, pointer)
	}
}

// FromApp lists what a normalised app asks for.
func FromApp(a *app.App) Wish {
	w := Wish{Plain: a.Container == nil || a.Container.Docker == nil}
	if a.User != "" || w.Plain {
		w.ask(AskUser, a.User, "/user")
	}
	for _, name := range slices.Sorted(maps.Keys(a.Secrets)) {
		w.ask(AskSecret, a.Secrets[name].Source, "/secrets/"+app.EscapePointer(name)+"/source")
	}
	if a.Host() {
		w.ask(AskHostNetwork, "", "/networks")
	}
	for _, key := range slices.Sorted(maps.Keys(a.Labels)) {
		if strings.HasPrefix(key, app.DatasetLabel) {
			w.ask(AskDataset, a.Labels[key], "/labels/"+app.EscapePointer(key))
		}
	}
	for i, f := range a.Fetch {
		at := "/fetch/" + strconv.Itoa(i)
		w.ask(AskFetch, f.URI, at+"/uri")
		w.askText(AskSandboxPath, f.DestPath, at+"/destPath")
	}
	if a.Container == nil {
		return w
	}
	for i, v := range a.Container.Volumes {
		at := "/container/volumes/" + strconv.Itoa(i)
		w.askText(AskHostVolume, v.HostPath, at+"/hostPath")
		w.ask(AskMountPoint, v.ContainerPath, at+"/containerPath")
	}
	if d := a.Container.Docker; d != nil {
		w.ask(AskImage, d.Image, "/container/docker/image")
		if d.Privileged {
			w.ask(AskPrivileged, "", "/container/docker/privileged")
		}
		for i, p := range d.Parameters {
			w.ask(AskParameter, p.Key+"="+p.Value, "/container/docker/parameters/"+strconv.Itoa(i))
		}
	}
	return w
}

// FromTask lists what a task of a framework asks for; f gives the user of tasks that
// name none. Pointers lead into the TaskInfo, or are empty for the framework's user.
func FromTask(f mesos.FrameworkInfo, t mesos.TaskInfo) Wish {
	w := Wish{TaskID: t.TaskID.Value, Plain: true}
	if c := t.Container; c != nil {
		w.Plain = c.Docker == nil && (c.Mesos == nil || c.Mesos.Image == nil)
	}
	if t.Command == nil || t.Command.User == "" {
		if f.User != "" || w.Plain {
			w.ask(AskUser, f.User, "")
		}
	}
	if t.Labels != nil {
		for i, l := range t.Labels.Labels {
			if strings.HasPrefix(l.Key, app.DatasetLabel) {
				w.ask(AskDataset, l.Value, "/labels/labels/"+strconv.Itoa(i))
			}
		}
	}
	w.command(t.Command, "/command")
	if h := t.HealthCheck; h != nil {
		w.command(h.Command, "/health_check/command")
	}
	if c := t.Check; c != nil && c.Command != nil {
		w.command(&c.Command.Command, "/check/command/command")
	}
	w.container(t.Container)
	return w
}

func (w *Wish) command(c *mesos.CommandInfo, at string) {
	if c == nil {
		return
	}
	w.askText(AskUser, c.User, at+"/user")
	for i, u := range c.URIs {
		uri := at + "/uris/" + strconv.Itoa(i)
		w.ask(AskFetch, u.Value, uri+"/value")
		w.askText(AskSandboxPath, u.OutputFile, uri+"/output_file")
	}
}

func (w *Wish) container(c *mesos.ContainerInfo) {
	if c == nil {
		w.ask(AskHostNetwork, "", "/container")
		return
	}
	for i, v := range c.Volumes {
		at := "/container/volumes/" + strconv.Itoa(i)
		w.askText(AskHostVolume, v.HostPath, at+"/host_path")
		w.ask(AskMountPoint, v.ContainerPath, at+"/container_path")
	}
	d := c.Docker
	switch {
	case d != nil && (d.Network == "" || d.Network == mesos.NetworkHost):
		w.ask(AskHostNetwork, "", "/container/docker/network")
	case d == nil && len(c.NetworkInfos) == 0:
		w.ask(AskHostNetwork, "", "/container/network_infos")
	}
	if m := c.Mesos; m != nil && m.Image != nil && m.Image.Docker != nil {
		w.ask(AskImage, m.Image.Docker.Name, "/container/mesos/image/docker/name")
	}
	if d == nil {
		return
	}
	w.ask(AskImage, d.Image, "/container/docker/image")
	if d.Privileged {
		w.ask(AskPrivileged, "", "/container/docker/privileged")
	}
	for i, p := range d.Parameters {
		w.ask(AskParameter, p.Key+"="+p.Value, "/container/docker/parameters/"+strconv.Itoa(i))
	}
}
