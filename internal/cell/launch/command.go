package launch

import (
	"maps"
	"slices"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/mesos"
)

// command is the app's shell line, or its arguments. Arguments of an image go to
// the image's entry point; without an image the first one is the program.
func (b *builder) command() *mesos.CommandInfo {
	c := &mesos.CommandInfo{User: b.a.User, Environment: b.environment(), URIs: b.uris()}
	switch {
	case b.a.Cmd != "":
		c.Shell, c.Value = new(true), b.a.Cmd
	default:
		c.Shell, c.Arguments = new(false), b.a.Args
		if b.image() == "" && len(b.a.Args) > 0 {
			c.Value = b.a.Args[0]
		}
	}
	return c
}

func (b *builder) image() string {
	if b.a.Container == nil || b.a.Container.Docker == nil {
		return ""
	}
	return b.a.Container.Docker.Image
}

func (b *builder) environment() *mesos.Environment {
	plain := app.Environment(b.a, b.id, b.host, b.launch.Ports, b.a.Version.String(), b.options.EnvPrefix)
	e := &mesos.Environment{}
	for _, name := range slices.Sorted(maps.Keys(plain)) {
		e.Variables = append(e.Variables, mesos.Variable{Name: name, Type: "VALUE", Value: plain[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(b.a.Env)) {
		if secret := b.a.Env[name].Secret; secret != "" {
			e.Variables = append(e.Variables, mesos.Variable{Name: name, Type: "SECRET", Secret: b.secret(secret)})
		}
	}
	return e
}

func (b *builder) uris() []mesos.URI {
	var out []mesos.URI
	for _, f := range b.a.Fetch {
		out = append(out, mesos.URI{Value: f.URI, Extract: new(f.Extract), Executable: f.Executable, Cache: f.Cache, OutputFile: f.DestPath})
	}
	return out
}
