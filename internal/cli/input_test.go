package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/internal/server"
)

// TestCarelessInput: what cannot be meant is refused before anything is done.
func TestCarelessInput(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "platform.yaml")
	if err := os.WriteFile(file, []byte("name: zk\nstack: zookeeper\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "stack.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"up", "--pipeline"}, exitInput, "howdah: say which pipeline: howdah up DIRECTORY --pipeline\nsee: howdah up --help\n"},
		{[]string{"up", "--pipeline", dir}, exitNotFound, "howdah: there is no pipeline.yaml beside " + file + "\n"},
		{[]string{"up", "--stacks", dir}, exitInput, "howdah: " + dir + " is a stack itself; give the directory it lies in: --stacks " + filepath.Dir(dir) + "\nsee: howdah up --help\n"},
		{[]string{"op", "cancel", "1abc"}, exitInput, "howdah: \"1abc\" is no number of an operation\nsee: howdah op cancel --help\n"},
		{[]string{"topology", "rebalance", "stream", "net", "--executors", "bolt=2x"}, exitInput, "howdah: \"bolt=2x\" is not COMPONENT=NUMBER\nsee: howdah topology rebalance --help\n"},
		{[]string{"topology", "submit", "stream", "--flux", dir + "/none"}, exitNotFound, "howdah: there is no file " + dir + "/none\n"},
		{[]string{"get", "clusters", "--home", ""}, exitInput, "howdah: --home is empty; name a directory, or leave it away\nsee: howdah get --help\n"},
	} {
		var out, errs bytes.Buffer
		home := filepath.Join(t.TempDir(), "home")
		a := &app{home: server.Home{Dir: home}, out: &out, err: &errs, in: strings.NewReader("")}
		args := tt.args
		if !strings.Contains(strings.Join(args, " "), "--home") {
			args = append([]string{"--home", home}, args...)
		}
		if code := a.run(context.Background(), args); code != tt.code || errs.String() != tt.text {
			t.Errorf("howdah %q: code %d, %q", tt.args, code, errs.String())
		}
		if _, err := os.Stat(home); err == nil {
			t.Errorf("howdah %q made the home", tt.args)
		}
	}
}

// TestDiagnosticsAreTame: a definition cannot steer the terminal through what is
// said about it.
func TestDiagnosticsAreTame(t *testing.T) {
	var b bytes.Buffer
	printDiagnostics(&b, api.Diagnostics{{Severity: api.SeverityError, Address: "stack\x1b[2J", Summary: "unknown stack zoo\x1b]0;x\a", Detail: "Known:\x1b[1m hdfs"}}, "nothing was changed")
	if want := "error    stack [2J: unknown stack zoo ]0;x \n         Known: [1m hdfs\n1 error; nothing was changed\n"; b.String() != want {
		t.Errorf("printed %q", b.String())
	}
}
