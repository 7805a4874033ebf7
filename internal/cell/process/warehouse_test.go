package process

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/cell/app"
	"howdah.dev/howdah/internal/cell/mesos"
	"howdah.dev/howdah/internal/warehouse/dataset"
	"howdah.dev/howdah/internal/warehouse/gateway"
)

// TestTaskTokens: a task's token opens the datasets of its labels, at its worker,
// until it ends.
func TestTaskTokens(t *testing.T) {
	open := func(address, secret string) *house {
		h, err := WarehouseConfig{Web: "http://127.0.0.1:9870", User: "ads"}.open(t.TempDir(), address, secret, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		h.holds = func(_ context.Context, framework, task string) bool { return framework == "f1" && task == "t1" }
		return h
	}
	h := open("127.0.0.2:5051", "secret")
	x, err := h.extras(mesos.ID{Value: "f1"}, &mesos.TaskInfo{Name: "web.shop", TaskID: mesos.ID{Value: "t1"}, Labels: &mesos.Labels{Labels: []mesos.Label{
		{Key: app.ProjectLabel, Value: "shop"},
		{Key: "HOWDAH_DATASET_CLICKS", Value: "/data/clicks"},
		{Key: "HOWDAH_DATASET_GEO", Value: "/data/geo:ro"},
		{Key: "owner", Value: "me"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	token := string(x.Files[tokenFile])
	want := map[string]string{
		"HOWDAH_DATASET_CLICKS": "/data/clicks", "HOWDAH_DATASET_GEO": "/data/geo",
		"HOWDAH_TOKEN_FILE": "{sandbox}/.howdah-token", "WEBHDFS_URL": "http://127.0.0.2:5051/webhdfs/v1",
	}
	if diff := cmp.Diff(want, x.Env); diff != "" {
		t.Error(diff)
	}
	grant, ok := h.authorize(t.Context(), token)
	if !ok || grant.Project != "shop" || grant.User != "shop" {
		t.Fatalf("%v %+v", ok, grant)
	}
	got := map[string]gateway.Access{}
	for _, d := range grant.Datasets {
		if d.User != "" {
			t.Errorf("%s is used as %s", d.Path, d.User)
		}
		got[d.Path] = d.Access
	}
	if diff := cmp.Diff(map[string]gateway.Access{"/data/clicks": gateway.ReadWrite, "/data/geo": gateway.ReadOnly}, got); diff != "" {
		t.Error(diff)
	}
	body, sig, _ := strings.Cut(token, ".")
	for name, tt := range map[string]struct {
		house *house
		token string
	}{
		"another worker":      {open("127.0.0.3:5051", "secret"), token},
		"another cell":        {open("127.0.0.2:5051", "other"), token},
		"another's signature": {h, body + "x." + sig},
		"no signature":        {h, body + "."},
		"nothing":             {h, ""},
		// Requests are counted by the text of their token: there may be one only.
		"a line break in it": {h, body[:10] + "\n" + body[10:] + "." + sig},
		"one behind it":      {h, token + "\r\n"},
		"spare bits set":     {h, body + "." + sig[:len(sig)-1] + string(spare(sig[len(sig)-1]))},
	} {
		if _, ok := tt.house.authorize(t.Context(), tt.token); ok {
			t.Errorf("%s: it opens the warehouse", name)
		}
	}
	// What belongs to others is used as its owner; the default project is the user of the configuration.
	h.declared.catalog, h.declared.due = dataset.NewCatalog(nil), time.Now().Add(time.Hour)
	h.declared.now.Store(&declared{all: []dataset.Dataset{{Path: "/data", Owner: "default"}, {Path: "/data/geo", Owner: "maps"}, {Path: "/data/clicks", Owner: "shop"}}})
	for path, want := range map[string]string{"/data/geo/x:ro": "maps", "/data/clicks": "", "/data/other": "ads"} {
		x, err := h.extras(mesos.ID{Value: "f1"}, &mesos.TaskInfo{TaskID: mesos.ID{Value: "t1"}, Labels: &mesos.Labels{Labels: []mesos.Label{
			{Key: app.ProjectLabel, Value: "shop"}, {Key: "HOWDAH_DATASET_A", Value: path},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		if grant, ok := h.authorize(t.Context(), string(x.Files[tokenFile])); !ok || grant.User != "shop" || grant.Datasets[0].User != want {
			t.Errorf("%s: %v %+v", path, ok, grant)
		}
	}
	if x, err := h.extras(mesos.ID{Value: "f1"}, &mesos.TaskInfo{TaskID: mesos.ID{Value: "t1"}, Labels: &mesos.Labels{Labels: []mesos.Label{{Key: "HOWDAH_DATASET_A", Value: "/a"}}}}); err != nil {
		t.Error(err)
	} else if grant, ok := h.authorize(t.Context(), string(x.Files[tokenFile])); !ok || grant.User != "ads" || grant.Project != "default" {
		t.Errorf("%v %+v", ok, grant)
	}
	h.holds = func(context.Context, string, string) bool { return false }
	if _, ok := h.authorize(t.Context(), token); ok {
		t.Error("the token of a task that ended opens the warehouse")
	}
	// Without datasets there is nothing to open.
	if x, err := h.extras(mesos.ID{Value: "f1"}, &mesos.TaskInfo{Name: "web.shop", Labels: &mesos.Labels{}}); err != nil || len(x.Files)+len(x.Env) > 0 {
		t.Errorf("%+v, %v", x, err)
	}
}

// spare is the last letter of a text of 32 bytes with a bit set that says nothing.
func spare(letter byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, letter)|1]
}
