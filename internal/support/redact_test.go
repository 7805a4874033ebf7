package support

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
	"howdah.dev/howdah/internal/agentapi"
	"howdah.dev/howdah/internal/server"
	"howdah.dev/howdah/internal/store"
	"howdah.dev/howdah/internal/support/supporttest"
	"howdah.dev/howdah/internal/tenant"
)

// secrets are those of a home that was made, by what they are.
type secrets map[string]string

// planted is a home without a server whose logs, settings, definitions and events
// hold a secret of every kind.
func planted(t *testing.T) (server.Home, secrets) {
	t.Helper()
	h := server.Home{Dir: t.TempDir()}
	put := func(path, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	asJSON := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	authority, err := tenant.OpenAuthority(h.Authority())
	if err != nil {
		t.Fatal(err)
	}
	key, err := os.ReadFile(filepath.Join(h.Authority(), "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	token, err := authority.Sign(tenant.Token{ID: "1", Name: "someone", Project: "default", Role: tenant.Admin})
	if err != nil {
		t.Fatal(err)
	}
	owner, _ := tenant.NewSecret()
	join, _ := tenant.NewSecret()
	line := strings.Split(string(key), "\n")[1]
	s := secrets{
		"the owner's token": owner, "a join token": join, "a shared secret": authority.Derive("cluster secret", "c", "cell"),
		"a user's token": token, "a line of the authority's key": line, "a cut user's token": token[:60],
		"a password in a definition": "pa<ss>&word-1", "a password in a log": "pass-log-2", "a password in an environment": "pass-env-3",
		"a password of an address": "pass-url-4", "a bearer": "bearer-text-5", "a flag": "pass-flag-6", "a property": "pass-prop-7",
		"JSON within JSON": "pass-json-8", "a foreign key": "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49foreign", "a word in quotes": "pass word 9", "a line of an agent's key": "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49agent", "an argument": "pass-arg-10",
	}
	put(h.Token(), s["the owner's token"])
	put(h.Settings(), `{"memoryMB": 900}`)
	node := filepath.Join(h.Nodes(), "c", "c-1")
	put(filepath.Join(node, "join.json"), asJSON(agentapi.JoinFile{Token: s["a join token"]}))
	put(filepath.Join(node, "agent", "identity.json"), asJSON(map[string]string{"key": "-----BEGIN PRIVATE KEY-----\n" + s["a line of an agent's key"] + "\n-----END PRIVATE KEY-----\n"}))
	put(filepath.Join(node, "node.json"), `{"key": "n1"}`)
	put(filepath.Join(node, "agent", "assignment.json"), asJSON(agentapi.Assignment{Services: []agentapi.Service{{Secrets: []agentapi.Secret{{Kind: "shared", Content: agentapi.SecretText(s["a shared secret"])}}}}}))
	everything := strings.Join([]string{
		"it said " + s["the owner's token"] + " and " + base64.StdEncoding.EncodeToString([]byte(s["a join token"])) + ", " + s["a join token"],
		"key=" + s["a shared secret"] + " " + s["a user's token"] + " then " + s["a cut user's token"], string(key), "one line alone: " + s["a line of the authority's key"], "and " + s["a line of an agent's key"],
		"-----BEGIN EC PRIVATE KEY-----\n" + s["a foreign key"] + "\n-----END EC PRIVATE KEY-----",
		"dbPassword: " + s["a password in a log"] + ", " + "MY_SECRET=" + s["a password in an environment"], `keystore.password = "` + s["a word in quotes"] + `"`,
		"jdbc://user:" + s["a password of an address"] + "@host/db", "Authorization: Bearer " + s["a bearer"], "cmd --auth-token " + s["a flag"] + " run",
		"<name>fs.s3a.secret.key</name><value>" + s["a property"] + "</value>", asJSON(map[string]string{"args": asJSON(map[string]string{"api_key": s["JSON within JSON"], "b": "c"})}),
		`["run",` + "\n" + ` "--password",` + "\n" + ` "` + s["an argument"] + `"]`, "cannot read signature-secret\n2026-11-22 words go on", "the secret:\n2026-11-23 too",
		"a harmless last line",
	}, "\n")
	put(h.Log(), strings.Repeat("x", 2000)+s["a user's token"]+"\n"+everything)
	put(filepath.Join(node, "agent", "agent.log"), everything)
	put(filepath.Join(node, "svc", "logs", "svc.out"), everything)
	st, err := store.Open(t.Context(), store.Config{Path: h.Database(), Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	err = st.Update(t.Context(), func(tx *store.Tx) error {
		return errors.Join(
			tx.PutCluster(store.Cluster{ID: "c", Name: "cc", Infrastructure: "local", Intent: agentapi.IntentRun, Revision: 1, Created: time.Now()}),
			tx.PutRevision("c", 1, map[string]any{"cluster": map[string]any{"configuration": map[string]any{"hadoop": map[string]string{"fs.s3a.secret.key": s["a password in a definition"]}}}}),
			tx.Event(api.Event{Type: "x", Message: "it failed: token=" + s["a user's token"] + " kept words"}),
		)
	})
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
	return h, s
}

// TestNoSecretIsInABundle: none that was planted, in any form; what helps is.
func TestNoSecretIsInABundle(t *testing.T) {
	h, planted := planted(t)
	t.Setenv("HOWDAH_CELL_TOKEN", planted["a password in an environment"])
	file := filepath.Join(t.TempDir(), "b.tar.gz")
	about, err := Write(t.Context(), Config{Home: h, Client: client.New(client.Config{Socket: h.Socket()}), File: file, Tail: 64 << 10, Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the bundle is %v, %v", st, err)
	}
	if !strings.Contains(about.Server, "does not answer") || len(about.Lacks) > 0 {
		t.Errorf("it says %+v", about)
	}
	members := supporttest.Read(t, file)
	for _, want := range []string{"about.json", "host.json", "settings.json", "database.json", "processes.json", "clusters.json", "clusters/cc/database.json", "operations.json", "events.json", "logs/server.log", "logs/nodes/c/c-1/agent/agent.log", "logs/nodes/c/c-1/svc/logs/svc.out"} {
		if members["howdah-support/"+want] == "" {
			t.Errorf("it lacks %s", want)
		}
	}
	for what, secret := range planted {
		for name, text := range members {
			for form, looks := range map[string]string{"as it is": secret, "in base64": base64.StdEncoding.EncodeToString([]byte(secret))} {
				if strings.Contains(text, looks) {
					t.Errorf("%s, %s, is in %s", what, form, name)
				}
			}
		}
	}
	for name, words := range map[string][]string{
		"logs/server.log": {"a harmless last line", "it said [redacted] and ", "keystore.password = [redacted]", "jdbc://user:[redacted]host/db", "cmd --auth-token [redacted] run", "signature-secret\n2026-11-22 words go on", "the secret:\n2026-11-23 too"},
		"events.json":     {"it failed: token=[redacted] kept words"}, "settings.json": {`"memoryMB": 900`}, "clusters/cc/database.json": {`"fs.s3a.secret.key": "[redacted]"`},
	} {
		for _, w := range words {
			if !strings.Contains(members["howdah-support/"+name], w) {
				t.Errorf("%s lacks %q:\n%s", name, w, members["howdah-support/"+name])
			}
		}
	}
}

// TestHangingServer: a server that takes calls and answers none is no reason to
// have no bundle.
func TestHangingServer(t *testing.T) {
	h, _ := planted(t)
	dir, err := os.MkdirTemp("", "howdah-u-") //nolint:usetesting // the path of a unix socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := filepath.Join(t.TempDir(), "b.tar.gz")
	about, err := Write(t.Context(), Config{Home: h, Client: client.New(client.Config{Socket: socket}), File: file, Tail: 1000, Patience: 50 * time.Millisecond})
	if err != nil || !strings.Contains(about.Server, "does not answer") || supporttest.Read(t, file)["howdah-support/clusters/cc/database.json"] == "" {
		t.Errorf("%+v, %v", about, err)
	}
}

// TestTailsBeginWithALine: what is cut off in the middle could be half a secret.
func TestTailsBeginWithALine(t *testing.T) {
	h, _ := planted(t)
	b := &bundle{cfg: Config{Home: h, Tail: 30}, redactor: &redactor{}}
	log := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(log, []byte("long ago\nhalf-of-a-secret-is-cut\nlast line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.tail(log, "log")
	if got := string(b.members[0].data); got != "[the beginning is left out]\nlast line\n" {
		t.Errorf("the tail is %q", got)
	}
	if err := os.Symlink("/etc/passwd", log+"2"); err != nil {
		t.Fatal(err)
	}
	b.tail(log+"2", "link")
	if len(b.members) != 1 || len(b.about.Lacks) != 1 {
		t.Errorf("a link to another file was followed: %+v", b.about)
	}
}

// TestUnsure: a text that still holds a secret is not written.
func TestUnsure(t *testing.T) {
	r := &redactor{}
	r.learn("hush-hush-hush")
	for _, bad := range []string{"hush-hush-hush", "-----BEGIN PRIVATE KEY-----\nx", "howdah_abcdefghijklmnop.q"} {
		if r.sure([]byte(bad)) {
			t.Errorf("%q may be written", bad)
		}
		if clean := r.clean([]byte(bad)); !r.sure(clean) {
			t.Errorf("%q is still no clean text", clean)
		}
	}
	if text := "SHA-256 " + strings.Repeat("ab", 32); string(r.clean([]byte(text))) != "SHA-256 ababababab…" {
		t.Errorf("a digest becomes %s", r.clean([]byte(text)))
	}
}
