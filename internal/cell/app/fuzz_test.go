package app

import (
	"encoding/json"
	"testing"
)

// FuzzReadGroup: no body of a group, and no dump, brings the reader down; what comes
// out follows the schema and can be put back.
func FuzzReadGroup(f *testing.F) {
	f.Add([]byte(shop))
	f.Add([]byte(dump))
	f.Add([]byte(`{"scaleBy": 1.5, "version": "2020-01-01T00:00:00.000Z", "groups": [{"id": "../.."}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s := Settings{Role: "*", Network: "net"}
		if im, bad := Import(body, s, nil); bad != nil {
			answer(t, bad)
		} else if out, err := json.Marshal(im.Root); err != nil {
			t.Fatal(err)
		} else if len(im.Findings) == 0 {
			validates(t, "group.json", out)
		}
		root := NewGroup("/")
		u, bad := ReadGroup(body, "/g")
		if bad != nil {
			answer(t, bad)
			return
		}
		next, bad := u.Apply(root, s, stamp(1))
		if bad != nil {
			answer(t, bad)
			return
		}
		out, err := json.Marshal(next)
		if err != nil {
			t.Fatal(err)
		}
		validates(t, "group.json", out)
		again, bad := ReadGroup(out, "/")
		if bad != nil {
			t.Fatalf("its own answer is refused: %v\n%s", bad, out)
		}
		same, bad := again.Apply(next, s, stamp(1))
		if bad != nil {
			t.Fatalf("its own answer is refused: %v\n%s", bad, out)
		}
		if tree(same) != tree(next) {
			t.Fatalf("put back it differs:\n%s\n%s", tree(next), tree(same))
		}
	})
}

// FuzzParseLabels: a selector is read or refused in the right form.
func FuzzParseLabels(f *testing.F) {
	f.Add(`foo==one, bla!=one, foo in (one, \,), bla notin (), existence`)
	f.Fuzz(func(t *testing.T, s string) {
		rules, bad := ParseLabels(s)
		if bad != nil {
			answer(t, bad)
		}
		(Filter{Labels: rules}).Match(&App{Labels: map[string]string{"foo": "one"}})
	})
}
