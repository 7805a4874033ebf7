package stack

import (
	"os"
	"testing"
)

func TestLoadReal(t *testing.T) {
	c, ds := LoadCatalog(Layer{Name: "stacks", FS: os.DirFS("../../stacks")})
	for _, d := range ds {
		t.Log(d.String(), " -- ", d.Detail)
	}
	t.Log(c.Names())
}
