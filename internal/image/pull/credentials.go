package pull

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// Credentials log in to a registry. The zero value is nobody. They print as
// nothing: they are secrets.
type Credentials struct {
	user, secret string
	byRegistry   map[string]authn.AuthConfig
}

// Basic logs in with a user and a password or token, to any registry.
func Basic(user, secret string) Credentials { return Credentials{user: user, secret: secret} }

// String hides what it is.
func (c Credentials) String() string {
	if c.empty() {
		return "no credentials"
	}
	return "credentials (hidden)"
}

// GoString hides what it is from %#v.
func (c Credentials) GoString() string { return c.String() }

func (c Credentials) empty() bool { return c.user == "" && c.secret == "" && len(c.byRegistry) == 0 }

// maxDockerConfig bounds a config.json, in bytes.
const maxDockerConfig = 1 << 20

// DockerConfig reads Docker's config.json, as Marathon's pullConfig gives it. Its
// credential helpers are not run: they are programs that the file chooses.
func DockerConfig(data []byte) (Credentials, error) {
	if len(data) > maxDockerConfig {
		return Credentials{}, fmt.Errorf("the Docker configuration has more than %d bytes", maxDockerConfig)
	}
	var file struct {
		Auths   map[string]authn.AuthConfig `json:"auths"`
		Store   string                      `json:"credsStore"`
		Helpers map[string]string           `json:"credHelpers"`
	}
	// The error of the decoder may quote the secret.
	if json.Unmarshal(data, &file) != nil {
		return Credentials{}, errors.New(`the Docker configuration cannot be read: it is JSON like {"auths": {"registry.example.com": {"auth": "..."}}}`)
	}
	if file.Auths == nil && file.Store == "" && file.Helpers == nil {
		// .dockercfg of before 2015 is the inner object alone.
		if json.Unmarshal(data, &file.Auths) != nil {
			return Credentials{}, errors.New("the Docker configuration has no auths")
		}
	}
	c := Credentials{byRegistry: map[string]authn.AuthConfig{}}
	for key, auth := range file.Auths {
		if auth != (authn.AuthConfig{}) {
			c.byRegistry[registryKey(key)] = auth
		}
	}
	if len(c.byRegistry) == 0 && (file.Store != "" || len(file.Helpers) > 0) {
		return Credentials{}, errors.New("the Docker configuration names a credential helper, which is not run: put the login into auths (docker login on a machine without a helper)")
	}
	return c, nil
}

// registryKey is the registry that a key of auths means: https://host/v1/ is host.
func registryKey(key string) string {
	for _, scheme := range []string{"https://", "http://"} {
		key = strings.TrimPrefix(key, scheme)
	}
	host, _, _ := strings.Cut(key, "/")
	if host == "docker.io" || host == "registry-1.docker.io" {
		return name.DefaultRegistry
	}
	return host
}

// authenticator is how to log in to one registry.
func (c Credentials) authenticator(registry string) authn.Authenticator {
	if auth, ok := c.byRegistry[registry]; ok {
		return authn.FromConfig(auth)
	}
	if c.user != "" || c.secret != "" {
		return &authn.Basic{Username: c.user, Password: c.secret}
	}
	return authn.Anonymous
}
