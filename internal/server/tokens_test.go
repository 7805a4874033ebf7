package server

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"howdah.dev/howdah/internal/image/registry"
	"howdah.dev/howdah/internal/tenant"
)

// TestNodeTokensBuyTokens: what lies on a node's disk opens no image; only the
// token of a few minutes that it is changed into does.
func TestNodeTokensBuyTokens(t *testing.T) {
	kept := tenant.NodeToken("n1", "c-worker-1", tenant.Viewer)
	bought := kept
	bought.Expires = time.Now().Add(time.Minute)
	for _, action := range []string{registry.ActionLogin, registry.ActionPull, registry.ActionPush} {
		as := func(who tenant.Token) error {
			r := httptest.NewRequest(http.MethodGet, "/v2/shop/web/tags/list", nil)
			return authorizeImage(r.WithContext(withCaller(r.Context(), who)), "shop/web", action)
		}
		if err := as(kept); !errors.Is(err, registry.ErrUnauthenticated) {
			t.Errorf("%s with the node's own token: %v", action, err)
		}
		if err := as(bought); (err == nil) != (action != registry.ActionPush) {
			t.Errorf("%s with a token bought with it: %v", action, err)
		}
	}
}
