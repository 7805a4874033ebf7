package agentapi_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"howdah.dev/howdah/internal/agentapi"
)

// TestSecretsAreNotShown: only a message's own JSON has them.
func TestSecretsAreNotShown(t *testing.T) {
	secret := agentapi.Secret{Path: "conf/key", Content: "hush"}
	as := agentapi.Assignment{Services: []agentapi.Service{{Secrets: []agentapi.Secret{secret}}}}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("got", "text", secret.Content, "secret", secret, "assignment", as, "pointer", &as)
	}
	for what, text := range map[string]string{
		"%v": fmt.Sprint(as), "%+v": fmt.Sprintf("%+v", as), "%#v": fmt.Sprintf("%#v", as), "%q": fmt.Sprintf("%q", secret.Content), "a log": log.String(),
	} {
		if text == "" || strings.Contains(text, "hush") {
			t.Errorf("%s shows it: %s", what, text)
		}
	}
}
