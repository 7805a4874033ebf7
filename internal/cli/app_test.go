package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"howdah.dev/howdah/internal/adapter/marathon"
)

// TestServicePorts shows where an app is reached, whatever its network is.
func TestServicePorts(t *testing.T) {
	for _, tt := range []struct{ app, want string }{
		{
			`{"id": "/web", "portDefinitions": [{"port": 10007, "name": "http", "protocol": "tcp"}, {"port": 10008, "protocol": "udp,tcp"}, {"port": 10009, "protocol": "udp"}]}`,
			"  service ports, at the address of any worker: 10007 (http), 10008\n",
		},
		{
			`{"id": "/web", "container": {"portMappings": [{"containerPort": 80, "servicePort": 10007, "protocol": "tcp"}]}}`,
			"  service ports, at the address of any worker: 10007\n",
		},
		{`{"id": "/web", "portDefinitions": []}`, ""},
	} {
		var x marathon.App
		if err := json.Unmarshal([]byte(tt.app), &x); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		describeApp(&b, &x, nil, nil)
		if want := "/web  0 of 0 run, version \n" + tt.want; b.String() != want {
			t.Errorf("%s\ngot  %q\nwant %q", tt.app, b.String(), want)
		}
	}
}
