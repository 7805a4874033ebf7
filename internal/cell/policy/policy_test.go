package policy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/mesos"
)

func appOf(t *testing.T, body string) *app.App {
	t.Helper()
	u, err := app.ReadApp([]byte(body), "/")
	if err != nil {
		t.Fatal(err)
	}
	a, err := u.New(app.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func lines(found []Finding) string {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%s %s → %s\n", f.Pointer, f.Message, f.Remedy)
	}
	return b.String()
}

// notOwn is what project shop-1 hears of a secret that is another's.
func notOwn(name, source string) string {
	return "/secrets/" + name + "/source the secret " + source + " is not the project's → Use one whose source begins with shop-1/ or env:SECRET_SHOP_1_, or ask the operator to allow it for the project.\n"
}

const bridged = `"networks": [{"mode": "container/bridge"}]`

func TestCheckApps(t *testing.T) {
	all := Policy{
		Privileged: true, HostNetwork: true, HostVolumes: []string{"/srv", "/data/shared"}, DockerParameters: []string{"cap-add"},
		Users: []string{"www", "20000-20999", "0"}, RootForPlainCommands: true, LocalFetch: true,
	}
	for _, c := range []struct {
		name, body string
		policy     Policy
		want       string
	}{
		{"a container of its own", `{"id": "a", "container": {"docker": {"image": "i", "parameters": [{"key": "label", "value": "a=b"}, {"key": "ulimit", "value": "nofile=1"},
			{"key": "hostname", "value": "h"}, {"key": "env", "value": "A=1"}]}}, "fetch": [{"uri": "https://example.com/a.tgz", "destPath": "a/b"}], ` + bridged + `}`, Policy{}, ""},
		{"a plain command", `{"id": "a", "cmd": "x"}`, Policy{}, `/user a plain command that names no user runs as the worker's own, and the project may not → Name a user that is allowed (none is), or use a container, or ask the operator to allow it for the project.` + "\n" + `/networks the network of the host is not allowed for this project → ` +
			`Use "networks": [{"mode": "container/bridge"}] (a plain command becomes a container of type MESOS), or ask the operator to allow it for the project.` + "\n"},
		{"a plain command with its own network", `{"id": "a", "cmd": "x", ` + bridged + `}`, Policy{}, "/user a plain command that names no user runs as the worker's own, and the project may not → Name a user that is allowed (none is), or use a container, or ask the operator to allow it for the project.\n"},
		{"a plain command as the worker", `{"id": "a", "cmd": "x"}`, Policy{HostNetwork: true, RootForPlainCommands: true}, ""},
		{"a plain command of a user", `{"id": "a", "cmd": "x", "user": "www"}`, Policy{HostNetwork: true, Users: []string{"www"}}, ""},
		{
			"a plain command of another user", `{"id": "a", "cmd": "x"}`,
			Policy{HostNetwork: true, Users: []string{"www", "20000-20999"}},
			"/user a plain command that names no user runs as the worker's own, and the project may not → Name a user that is allowed (www, 20000-20999), or use a container, or ask the operator to allow it for the project.\n",
		},
		{
			"secrets", `{"id": "a", "secrets": {"a": {"source": "shop-1/db"}, "b": {"source": "env:SECRET_SHOP_1_DB"}, "c/d": {"source": "bank/vault"}, "e": {"source": "shop-1/../bank/vault"},
			"f": {"source": "env:SECRET_BANK"}, "g": {"source": "shop-10/x"}, "h": {"source": "common/ca"}}, "container": {"docker": {"image": "i"}}, ` + bridged + `}`,
			Policy{Project: "shop-1", Secrets: []string{"common/"}},
			notOwn("c~1d", "bank/vault") + notOwn("e", "shop-1/../bank/vault") + notOwn("f", "env:SECRET_BANK") + notOwn("g", "shop-10/x"),
		},
		{"everything, by default", everything, Policy{}, `/user the user "root" is not allowed for this project → Remove user, or ask the operator to allow it for the project.
/networks the network of the host is not allowed for this project → Use "networks": [{"mode": "container/bridge"}] (a plain command becomes a container of type MESOS), or ask the operator to allow it for the project.
/fetch/0/uri files of the worker cannot be fetched → Write an http or https URI, or mount the file as a volume.
/fetch/0/destPath "../../etc/passwd" leaves the sandbox → Write a relative path without "..".
/fetch/1/uri the host 169.254.169.254 may not be fetched from by this project → Use a server that is neither this machine nor link-local, or ask the operator to allow it for the project.
/container/volumes/0/hostPath host volumes are not allowed for this project → Use a dataset, or the sandbox, or ask the operator to allow it for the project.
/container/docker/privileged privileged containers are not allowed for this project → Remove privileged, or ask the operator to allow it for the project.
/container/docker/parameters/0 the Docker parameter "cap-add" is not allowed for this project → Use only label, ulimit, hostname, env, or ask the operator to allow it for the project.
`},
		{"everything, allowed", everything, all, "/user the user \"root\" is not allowed for this project → Remove user, or ask the operator to allow it for the project.\n" +
			"/fetch/0/uri files of the worker cannot be fetched → Write an http or https URI, or mount the file as a volume.\n" +
			"/fetch/0/destPath \"../../etc/passwd\" leaves the sandbox → Write a relative path without \"..\".\n"},
		{
			"volumes", `{"id": "a", ` + bridged + `, "container": {"docker": {"image": "i"}, "volumes": [
			{"containerPath": "/a", "hostPath": "/srv", "mode": "RO"}, {"containerPath": "/b", "hostPath": "/srv/x/../y/", "mode": "RW"},
			{"containerPath": "/c", "hostPath": "/srv/../etc", "mode": "RO"}, {"containerPath": "/d", "hostPath": "/srvx", "mode": "RO"},
			{"containerPath": "/e", "hostPath": "srv", "mode": "RO"}, {"containerPath": "/proc/sys", "hostPath": "/srv", "mode": "RO"},
			{"containerPath": "a/../../b", "hostPath": "/srv", "mode": "RO"}, {"containerPath": "//", "hostPath": "/data/shared", "mode": "RO"}]}}`, all,
			`/container/volumes/2/hostPath the host path "/srv/../etc" is not below a path allowed for this project (/srv, /data/shared) → Use one of these paths, or ask the operator to allow it for the project.
/container/volumes/3/hostPath the host path "/srvx" is not below a path allowed for this project (/srv, /data/shared) → Use one of these paths, or ask the operator to allow it for the project.
/container/volumes/4/hostPath the host path "srv" is not absolute → Write an absolute path.
/container/volumes/5/containerPath nothing can be mounted at /proc/sys → Mount it elsewhere, for example below /mnt.
/container/volumes/6/containerPath the container path "a/../../b" goes upwards → Mount it elsewhere, for example below /mnt.
/container/volumes/7/containerPath nothing can be mounted at / → Mount it elsewhere, for example below /mnt.
`,
		},
		{
			"labels of ours", `{"id": "a", ` + bridged + `, "container": {"docker": {"image": "i", "parameters": [{"key": "label", "value": "MESOS_TASK_ID=other"}, {"key": "label", "value": "dev.howdah.node=x"}]}}}`, all,
			"/container/docker/parameters/0 the label MESOS_TASK_ID is set by Howdah itself → Choose another label.\n" +
				"/container/docker/parameters/1 the label dev.howdah.node is set by Howdah itself → Choose another label.\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, lines(Check(FromApp(appOf(t, c.body)), c.policy))); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

const everything = `{"id": "a", "user": "root", "fetch": [{"uri": "/etc/shadow", "destPath": "../../etc/passwd"}, {"uri": "http://169.254.169.254/latest"}], "container": {"docker":
	{"image": "i", "privileged": true, "parameters": [{"key": "cap-add", "value": "ALL"}]}, "volumes": [{"containerPath": "/x", "hostPath": "/srv", "mode": "RW"}]}}`

// TestImages: whose image of the own registry it is counts, however it is named.
func TestImages(t *testing.T) {
	const own = "127.9.0.1:7070"
	shop := Policy{Registry: own, Images: []string{"shop", "tools"}, HostNetwork: true}
	denied := " is one of project default → Push it to a repository of shop or tools, or ask the operator to allow it for the project.\n"
	for _, c := range []struct {
		image  string
		policy Policy
		want   string
	}{
		{"shop/web:1", shop, ""},
		{own + "/tools/curl", shop, ""},
		{"registry.example.com/default/web", shop, ""},
		{"web:1", shop, "/container/docker/image the image web:1" + denied},
		{own + "/default/web", shop, "/container/docker/image the image " + own + "/default/web" + denied},
		{"web:1", Policy{Registry: own, Images: []string{"*"}, HostNetwork: true}, ""},
	} {
		body := `{"id": "a", "container": {"type": "DOCKER", "docker": {"image": "` + c.image + `"}}, ` + bridged + `}`
		if got := lines(Check(FromApp(appOf(t, body)), c.policy)); got != c.want {
			t.Errorf("%s: got %s, want %s", c.image, got, c.want)
		}
	}
	task := mesos.TaskInfo{Container: &mesos.ContainerInfo{Mesos: &mesos.MesosInfo{Image: &mesos.Image{Docker: &mesos.DockerImage{Name: "web"}}}}}
	if got, want := lines(Check(FromTask(mesos.FrameworkInfo{}, task), shop)), "/container/mesos/image/docker/name the image web"+denied; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestUsers(t *testing.T) {
	p := Policy{Users: []string{"www", "20000-20999", "33"}}
	for _, c := range []struct {
		user  string
		plain bool
		root  bool
		want  bool
	}{
		{"www", true, false, true},
		{"20000", true, false, true},
		{"20999", false, false, true},
		{"21000", false, false, false},
		{"33", true, false, true},
		{"nobody", false, false, false},
		{"root", true, false, false},
		{"0", true, false, false},
		{"00", true, false, false},
		{"root", true, true, true},
		{"0", true, true, true},
		{"root", false, true, false},
		{"-1", true, false, false},
		{"99999999999999999999", true, false, false},
	} {
		p.RootForPlainCommands = c.root
		w := Wish{Plain: c.plain, Asks: []Ask{{Kind: AskUser, Value: c.user}}}
		if found := Check(w, p); (len(found) == 0) != c.want {
			t.Errorf("%+v: %v", c, found)
		}
	}
	rooted := Policy{Users: []string{"0-100", "root"}}
	if found := Check(Wish{Plain: true, Asks: []Ask{{Kind: AskUser, Value: "0"}}}, rooted); len(found) == 0 {
		t.Error("a range with 0 makes plain commands root")
	}
}

func TestCheckTasks(t *testing.T) {
	task := mesos.TaskInfo{TaskID: mesos.ID{Value: "t1"}, Command: &mesos.CommandInfo{
		Value: "x", URIs: []mesos.URI{{Value: "file:///etc/shadow", OutputFile: "/etc/cron.d/x"}},
	}}
	task.HealthCheck = &mesos.HealthCheck{Type: "COMMAND", Command: &mesos.CommandInfo{User: "root"}}
	for _, c := range []struct {
		name      string
		change    func(*mesos.TaskInfo)
		framework string
		want      string
	}{
		{"plain", func(*mesos.TaskInfo) {}, "root", `/container /command/uris/0/value /command/uris/0/output_file /health_check/command/user ""`},
		{"image with the host's network by default", func(t *mesos.TaskInfo) {
			t.Container = &mesos.ContainerInfo{Type: mesos.ContainerDocker, Docker: &mesos.DockerInfo{Image: "i", Privileged: true}}
		}, "", "/command/uris/0/value /command/uris/0/output_file /container/docker/network /container/docker/privileged /health_check/command/user"},
		{"image of a container of MESOS", func(t *mesos.TaskInfo) {
			t.Container = &mesos.ContainerInfo{Type: mesos.ContainerMesos, Mesos: &mesos.MesosInfo{Image: &mesos.Image{Type: "DOCKER"}}, Volumes: []mesos.Volume{{ContainerPath: "/x", HostPath: "/etc"}}}
		}, "", "/command/uris/0/value /command/uris/0/output_file /container/network_infos /container/volumes/0/host_path /health_check/command/user"},
		{"what our own scheduler sends", func(t *mesos.TaskInfo) {
			t.Command, t.HealthCheck = nil, nil
			t.Container = &mesos.ContainerInfo{Type: mesos.ContainerDocker, Docker: &mesos.DockerInfo{
				Image: "i", Network: mesos.NetworkBridge, Parameters: []mesos.Parameter{{Key: "label", Value: "MESOS_TASK_ID=t1"}},
			}}
		}, "", ""},
		{"a false label", func(t *mesos.TaskInfo) {
			t.Command, t.HealthCheck = nil, nil
			t.Container = &mesos.ContainerInfo{Type: mesos.ContainerDocker, Docker: &mesos.DockerInfo{
				Image: "i", Network: mesos.NetworkBridge, Parameters: []mesos.Parameter{{Key: "label", Value: "MESOS_TASK_ID=t2"}},
			}}
		}, "", "/container/docker/parameters/0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			changed := task
			c.change(&changed)
			got := map[string]bool{}
			for _, f := range Check(FromTask(mesos.FrameworkInfo{User: c.framework}, changed), Policy{}) {
				got[f.Pointer] = true
			}
			want := map[string]bool{}
			for pointer := range strings.FieldsSeq(c.want) {
				want[strings.Trim(pointer, `"`)] = true
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestFetch(t *testing.T) {
	for uri, want := range map[string][2]bool{ // by default, with LocalFetch
		"http://example.com/a":                    {true, true},
		"HTTPS://example.com:8443/a?b":            {true, true},
		"http://10.1.2.3/a":                       {true, true},
		"http://[2001:db8::1]/a":                  {true, true},
		"file:///etc/passwd":                      {false, false},
		"file://localhost/etc/passwd":             {false, false},
		"file://server/share":                     {false, false},
		"/etc/docker.tar.gz":                      {false, false},
		"FILE:/etc/passwd":                        {false, false},
		"ftp://example.com/a":                     {false, false},
		"hdfs://nn/a":                             {false, false},
		"s3://bucket/a":                           {false, false},
		"data:,x":                                 {false, false},
		"a.tgz":                                   {false, false},
		"http://":                                 {false, false},
		"http:///a":                               {false, false},
		"http://127.0.0.1/":                       {false, true},
		"http://127.1.2.3:5050/":                  {false, true},
		"http://[::1]/":                           {false, true},
		"http://[::ffff:127.0.0.1]/":              {false, true},
		"http://[fe80::1%25eth0]/":                {false, true},
		"http://localhost/":                       {false, true},
		"http://LocalHost./":                      {false, true},
		"http://a.localhost/":                     {false, true},
		"http://2130706433/":                      {false, true},
		"http://0x7f.1/":                          {false, true},
		"http://0177.0.0.1/":                      {false, true},
		"http://127.1/":                           {false, true},
		"http://user@127.0.0.1/":                  {false, true},
		"http://example.com@127.0.0.1/":           {false, true},
		"http://metadata.google.internal/":        {false, true},
		"http://100.100.100.200/latest/meta-data": {false, true},
	} {
		w := Wish{Asks: []Ask{{Kind: AskFetch, Value: uri, Pointer: "/u"}}}
		got := [2]bool{len(Check(w, Policy{})) == 0, len(Check(w, Policy{LocalFetch: true})) == 0}
		if got != want {
			t.Errorf("%s: %v, want %v", uri, got, want)
		}
	}
}

func TestBlockedIP(t *testing.T) {
	for s, want := range map[string]bool{
		"127.0.0.1": true, "127.255.255.254": true, "::1": true, "0.0.0.0": true, "0.1.2.3": true, "::": true, "169.254.169.254": true,
		"169.254.0.1": true, "fe80::1": true, "fe80::1%eth0": true, "224.0.0.1": true, "ff02::1": true, "255.255.255.255": true, "fec0::1": true,
		"::ffff:127.0.0.1": true, "::ffff:169.254.169.254": true, "::127.0.0.1": true, "64:ff9b::7f00:1": true, "64:ff9b:1::7f00:1": true,
		"2002:7f00:1::": true, "2001:0:1:2:3:4:80ff:fffe": true, "100.100.100.200": true, "168.63.129.16": true, "192.0.0.192": true, "fd00:ec2::254": true,
		"::ffff:0:127.0.0.1": true,
		"10.0.0.1":           false, "172.16.0.1": false, "192.168.1.1": false, "8.8.8.8": false, "2001:4860::8888": false, "fd00::1": false,
		"64:ff9b::808:808": false, "2002:808:808::": false, "100.100.100.201": false,
	} {
		if got := BlockedIP(netip.MustParseAddr(s)); got != want {
			t.Errorf("BlockedIP(%s) = %v", s, got)
		}
	}
	if !BlockedIP(netip.Addr{}) {
		t.Error("no address is not blocked")
	}
}

func TestUnderPrefix(t *testing.T) {
	for _, c := range []struct {
		path, prefix string
		want         bool
	}{
		{"/srv", "/srv", true},
		{"/srv/", "/srv", true},
		{"/srv/a", "/srv/", true},
		{"/srvx", "/srv", false},
		{"/srv/../etc", "/srv", false},
		{"//srv//a", "/srv", true},
		{"/a", "/", true},
		{"srv", "/srv", false},
		{"/srv", "", false},
		{"/srv/a\x00", "/srv", false},
		{"/", "/srv", false},
	} {
		if got := UnderPrefix(c.path, c.prefix); got != c.want {
			t.Errorf("UnderPrefix(%q, %q) = %v", c.path, c.prefix, got)
		}
	}
}

func TestPolicyProblems(t *testing.T) {
	bad := Policy{HostVolumes: []string{"srv", "/a/../b", "/ok", "/ok/", "/"}, Users: []string{"", "9-1", "www", "1-2"}}
	want := []string{
		`hostVolumes: "srv" must be a clean absolute path`, `hostVolumes: "/a/../b" must be a clean absolute path`,
		`users: "" must be a name, a number, or a range such as 20000-20999`, `users: "9-1" must be a name, a number, or a range such as 20000-20999`,
	}
	if diff := cmp.Diff(want, bad.Problems()); diff != "" {
		t.Error(diff)
	}
}
