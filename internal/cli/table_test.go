package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTable: on a screen the widest columns are cut; in a pipe nothing is.
func TestTable(t *testing.T) {
	header := []string{"SERVICE", "STATE", "MESSAGE"}
	rows := func() [][]string {
		return [][]string{
			{"datanode", "gated", "waits for port 8020 of warehouse-master-1"},
			{"résumé", "ready", "\x1b[2Jup"},
		}
	}
	for _, tt := range []struct {
		columns int
		want    string
	}{
		{0, `
SERVICE   STATE  MESSAGE
datanode  gated  waits for port 8020 of warehouse-master-1
résumé    ready   [2Jup
`},
		{80, `
SERVICE   STATE  MESSAGE
datanode  gated  waits for port 8020 of warehouse-master-1
résumé    ready   [2Jup
`},
		{40, `
SERVICE   STATE  MESSAGE
datanode  gated  waits for port 8020 of…
résumé    ready   [2Jup
`},
		{10, `
SERVICE   STATE  MESSAGE
datanode  gated  waits f…
résumé    ready   [2Jup
`},
	} {
		var b bytes.Buffer
		if tt.columns == 0 {
			table(&b, header, rows())
		} else {
			table(screen{&b, tt.columns}, header, rows())
		}
		if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), b.String()); diff != "" {
			t.Errorf("%d columns (-want +got):\n%s", tt.columns, diff)
		}
	}
}

// TestTableKeepsToScreen: two long columns share what there is.
func TestTableKeepsToScreen(t *testing.T) {
	var b bytes.Buffer
	table(screen{&b, 80}, []string{"A", "B", "C"}, [][]string{{strings.Repeat("a", 100), "b", strings.Repeat("c", 60)}})
	for line := range strings.Lines(b.String()) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if want := strings.Repeat("a", 37) + "…  b  " + strings.Repeat("c", 36) + "…\n"; !strings.Contains(b.String(), want) {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
