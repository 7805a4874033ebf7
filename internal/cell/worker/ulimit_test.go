package worker

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"howdah.dev/howdah/internal/cell/worker/container"
)

// TestUlimit: what a runtime could not set, or what reaches beyond the container, is
// refused in words.
func TestUlimit(t *testing.T) {
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		t.Fatal(err)
	}
	above := fmt.Sprintf("nofile=%d", own.Max+1)
	for text, want := range map[string]string{
		"nofile=100:200":                  "",
		fmt.Sprintf("nofile=%d", own.Max): "",
		"core=0":                          "the Docker parameter ulimit may not be core: it reaches beyond the container",
		"rtprio=99":                       "the Docker parameter ulimit may not be rtprio: it reaches beyond the container",
		"nice=40:40":                      "the Docker parameter ulimit may not be nice: it reaches beyond the container",
		"nofile=2:1":                      `the Docker parameter ulimit has the value "nofile=2:1": write it like nofile=1024:2048`,
		"threads=1":                       `the Docker parameter ulimit has the value "threads=1": write it like nofile=1024:2048`,
		above:                             fmt.Sprintf("the Docker parameter ulimit has the value %q: this worker's own is %d", above, own.Max),
	} {
		got, err := readUlimit(text)
		if want == "" && err != nil || want != "" && (err == nil || err.Error() != want) {
			t.Errorf("%s: %v", text, err)
		}
		if text == "nofile=100:200" && got != (container.Ulimit{Name: "nofile", Soft: 100, Hard: 200}) {
			t.Errorf("%+v", got)
		}
	}
}
