package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"howdah.dev/howdah/api"
	"howdah.dev/howdah/client"
)

// TestFail: an error is prose for people and one object for programs.
func TestFail(t *testing.T) {
	ds := api.Diagnostics{{Severity: api.SeverityError, Address: "name", Summary: "is missing", Detail: "Give one.", Source: &api.Position{File: "a.yaml", Line: 1, Column: 2}}}
	for _, tt := range []struct {
		err        error
		code       int
		text, json string
	}{
		{
			fmt.Errorf("wrapped: %w", &api.Problem{Type: api.ProblemGuard, Title: "Conflict", Status: 409, Detail: "it holds data"}), 4,
			"howdah: it holds data\n", `{"code":4,"type":"guard","detail":"it holds data"}` + "\n",
		},
		{
			&api.Problem{Type: api.ProblemInvalid, Title: "Unprocessable Entity", Diagnostics: ds}, 2,
			"a.yaml:1:2  error    name: is missing\n                     Give one.\n1 error; nothing was changed\n",
			`{"code":2,"type":"invalid","diagnostics":[{"severity":"error","address":"name","summary":"is missing","detail":"Give one.","source":{"file":"a.yaml","line":1,"column":2}}]}` + "\n",
		},
		{
			ds, 2, "a.yaml:1:2  error    name: is missing\n                     Give one.\n1 error; nothing was changed\n",
			`{"code":2,"type":"invalid","diagnostics":[{"severity":"error","address":"name","summary":"is missing","detail":"Give one.","source":{"file":"a.yaml","line":1,"column":2}}]}` + "\n",
		},
		{
			&followError{code: 1, summary: "apply of zk failed: no", findings: []api.Finding{{Object: "zk", Kind: "is", Message: "zk is failed"}, {Object: "op", Kind: "next", Message: "howdah op retry 1"}}}, 1,
			"zk is failed\n  next     howdah op retry 1\n",
			`{"code":1,"type":"failed","detail":"apply of zk failed: no","findings":[{"object":"zk","kind":"is","message":"zk is failed"},{"object":"op","kind":"next","message":"howdah op retry 1"}]}` + "\n",
		},
		{
			usagef("unknown flag: --x"), 2, "howdah: unknown flag: --x\nsee: howdah --help\n",
			`{"code":2,"type":"invalid","detail":"unknown flag: --x\nsee: howdah --help"}` + "\n",
		},
		{
			&exitError{exitNotFound, errors.New("there is no <x>")}, 3, "howdah: there is no <x>\n",
			`{"code":3,"type":"not-found","detail":"there is no <x>"}` + "\n",
		},
		{
			fmt.Errorf("%w: refused", client.ErrUnreachable), 1, "howdah: no server runs in /home; start it with: howdah up\n",
			`{"code":1,"type":"failed","detail":"no server runs in /home; start it with: howdah up"}` + "\n",
		},
		{context.Canceled, 1, "left\n", `{"code":1,"type":"failed","detail":"left"}` + "\n"},
		{
			pipelineFailed("p", context.Canceled), 1, "howdah: left; what ran was ended, datasets that are complete stay\n",
			`{"code":1,"type":"failed","detail":"left; what ran was ended, datasets that are complete stay"}` + "\n",
		},
		{errors.New("disk full"), 1, "howdah: disk full\n", `{"code":1,"type":"failed","detail":"disk full"}` + "\n"},
	} {
		for output, want := range map[string]string{"table": tt.text, "json": tt.json} {
			var b bytes.Buffer
			a := &app{output: output, err: &b}
			a.home.Dir = "/home"
			if code := a.fail(&cobra.Command{Use: "howdah"}, tt.err); code != tt.code {
				t.Errorf("%v ends with %d, want %d", tt.err, code, tt.code)
			}
			// An escaped newline is what JSON has for one.
			if diff := cmp.Diff(want, b.String()); diff != "" {
				t.Errorf("%v with -o %s (-want +got):\n%s", tt.err, output, diff)
			}
		}
	}
}

// TestOutputOf: the kind of output is known even where the arguments are wrong.
func TestOutputOf(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"get", "--frob", "-o", "json"}, "json"},
		{[]string{"get", "-ojson", "--frob"}, "json"},
		{[]string{"get", "-o=yaml", "--frob"}, "yaml"},
		{[]string{"get", "--output=json"}, "json"},
		{[]string{"get", "--output", "wide"}, "table"},
		{[]string{"run", "x", "--", "-o", "json"}, "table"},
		{[]string{"get", "-o"}, "table"},
	} {
		if got := outputOf(tt.args); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.args, got, tt.want)
		}
	}
}

// TestRun: a command line that is wrong, and a home without a server.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		args     []string
		code     int
		out, err string
	}{
		{[]string{"version", "-o", "json"}, 0, "{\n  \"version\": \"dev\"\n}\n", ""},
		{[]string{"version", "-o", "yaml"}, 0, "version: dev\n", ""},
		{[]string{"get", "--frob", "-o", "json"}, 2, "", `{"code":2,"type":"invalid","detail":"unknown flag: --frob\nsee: howdah get --help"}` + "\n"},
		{[]string{"aply", "-o", "yaml"}, 2, "", "code: 2\ntype: invalid\ndetail: |-\n  unknown command \"aply\"; did you mean apply?\n  see: howdah --help\n"},
		{[]string{"get", "clusters", "--home", dir, "-o", "json"}, 1, "", `{"code":1,"type":"failed","detail":"no server runs in ` + dir + `; start it with: howdah up"}` + "\n"},
		{[]string{"plan", "-f", dir + "/none", "-o", "json"}, 3, "", `{"code":3,"type":"not-found","detail":"there is no file ` + dir + `/none"}` + "\n"},
	} {
		var out, errs bytes.Buffer
		a := &app{out: &out, err: &errs, in: &bytes.Buffer{}}
		code := a.run(t.Context(), tt.args)
		if code != tt.code || out.String() != tt.out {
			t.Errorf("%v ends with %d, want %d:\n%s", tt.args, code, tt.code, out.String())
		}
		if diff := cmp.Diff(tt.err, errs.String()); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.args, diff)
		}
	}
}
