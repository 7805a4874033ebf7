package instance

import "testing"

// TestAppOf: an instance's id names its app, and a foreign task's id none.
func TestAppOf(t *testing.T) {
	for id, want := range map[string]string{NewID("/a"): "/a", NewID("/g/in-side/a.b"): "/g/in-side/a.b", "sleeper.1": "", "": ""} {
		if got := AppOf(id); got != want {
			t.Errorf("%s is of %q, not %q", id, got, want)
		}
	}
}
