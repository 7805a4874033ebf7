package agentapi_test

import (
	"bytes"
	"errors"
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

// TestUnmet: a probe without words of its own says what went wrong, and nothing else.
func TestUnmet(t *testing.T) {
	why := errors.New("127.0.0.2:80 refuses")
	for message, want := range map[string]string{"": "127.0.0.2:80 refuses", "the web answers": "the web answers: 127.0.0.2:80 refuses"} {
		if err := (agentapi.Probe{Message: message}).Unmet(why); err.Error() != want || !errors.Is(err, why) {
			t.Errorf("%q: %v, want %s", message, err, want)
		}
	}
}
