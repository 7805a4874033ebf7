package tenant_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"howdah.dev/howdah/internal/tenant"
)

func authority(t *testing.T) *tenant.Authority {
	t.Helper()
	a, err := tenant.OpenAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTokens(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	a := authority(t)
	token := tenant.Token{ID: "t1", Name: "ci", Project: "shop", Role: tenant.Operator, Issued: now, Expires: now.Add(time.Hour)}
	text, err := a.Sign(token)
	if err != nil {
		t.Fatal(err)
	}
	revoked := false
	v, err := tenant.NewVerifier(a.PEM(), func(t tenant.Token) string {
		if revoked {
			return tenant.Restrictions{Revoked: []string{"t0", "t1"}}.Refuse(t)
		}
		return tenant.Restrictions{Revoked: []string{"t0"}, MaxLife: 3600}.Refuse(t)
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := v.Verify(text, now)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(token, got); d != "" {
		t.Error(d)
	}
	body, sig, _ := strings.Cut(strings.TrimPrefix(text, "howdah_"), ".")
	payload, _ := base64.RawURLEncoding.DecodeString(body)
	forged := "howdah_" + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(payload), "operator", "admin", 1))) + "." + sig
	foreign, err := authority(t).Sign(token)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		at   time.Time
		want string
	}{
		"empty":     {"", now, "the token gives no access: it is not one of howdah's"},
		"no prefix": {strings.TrimPrefix(text, "howdah_"), now, "the token gives no access: it is not one of howdah's"},
		"no dot":    {"howdah_" + body, now, "the token gives no access: it is not one of howdah's"},
		"long":      {"howdah_" + strings.Repeat("a", 3000) + "." + sig, now, "the token gives no access: it is not one of howdah's"},
		"changed":   {forged, now, "the token gives no access: another authority signed it"},
		"foreign":   {foreign, now, "the token gives no access: another authority signed it"},
		"ended":     {text, now.Add(time.Hour), "the token gives no access: it ended 2026-11-22T13:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := v.Verify(c.text, c.at); !errors.Is(err, tenant.ErrToken) || err.Error() != c.want {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
	revoked = true
	who, err := v.Verify(text, now)
	if err == nil || err.Error() != "the token gives no access: it was revoked" || who != (tenant.Token{}) {
		t.Errorf("a revoked token: %v", err)
	}
	if e, ok := errors.AsType[*tenant.RefusedError](err); !ok || e.Token.ID != "t1" {
		t.Errorf("a record of it cannot name it: %v", err)
	}
}

func TestRoles(t *testing.T) {
	order := []tenant.Role{tenant.Viewer, tenant.Operator, tenant.Admin}
	for i, have := range order {
		for j, want := range order {
			if got := have.Covers(want); got != (i >= j) {
				t.Errorf("%s covers %s: %v", have, want, got)
			}
		}
	}
	if tenant.Role("").Covers(tenant.Viewer) || tenant.Role("root").Covers(tenant.Viewer) {
		t.Error("an unknown role covers viewer")
	}
	if _, err := tenant.ParseRole("root"); err == nil {
		t.Error("root is a role")
	}
}

func TestFromRequest(t *testing.T) {
	r, _ := http.NewRequest(http.MethodGet, "http://127.0.0.1/", nil)
	if got := tenant.FromRequest(r); got != "" {
		t.Errorf("got %q of nothing", got)
	}
	r.SetBasicAuth("anybody", "secret")
	if got := tenant.FromRequest(r); got != "secret" {
		t.Errorf("got %q of Basic", got)
	}
	r.Header.Set("Authorization", "Bearer other")
	if got := tenant.FromRequest(r); got != "other" {
		t.Errorf("got %q of a bearer", got)
	}
}

// TestRestrictions: where tokens must have an end, those without are refused although
// they are signed.
func TestRestrictions(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		r    tenant.Restrictions
		life time.Duration // 0: no end
		want string
	}{
		{tenant.Restrictions{}, 0, ""},
		{tenant.Restrictions{MaxLife: 86400}, 24 * time.Hour, ""},
		{tenant.Restrictions{MaxLife: 86400}, 0, "it has no end, which is not allowed here; make another with: howdah token create --for 720h"},
		{tenant.Restrictions{MaxLife: 86400}, 25 * time.Hour, "it is good for longer than 1 days, which is not allowed here; make another with: howdah token create --for 720h"},
		{tenant.Restrictions{Revoked: []string{"t"}}, time.Hour, "it was revoked"},
	} {
		k := tenant.Token{ID: "t", Issued: now}
		if tt.life > 0 {
			k.Expires = now.Add(tt.life)
		}
		if got := tt.r.Refuse(k); got != tt.want {
			t.Errorf("%+v of %s: %q, want %q", tt.r, tt.life, got, tt.want)
		}
	}
}
