package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"howdah.dev/howdah/api"
)

// Bounds of what is read of a list of images.
const (
	maxImages = 100_000
	maxList   = 8 << 20 // bytes of one answer
)

// Registry says how a client of registries reaches the server's own.
type Registry struct {
	Host      string // as it stands in the names of images
	PlainHTTP bool
	Token     string // the password of any user; empty where none is needed
	Transport http.RoundTripper
}

// Registry returns the way to the server's registry.
func (c *Client) Registry() Registry {
	r := Registry{Host: "localhost", PlainHTTP: true, Token: c.token, Transport: c.http.Transport}
	if r.Transport == nil {
		r.Transport = http.DefaultTransport
	}
	// Over the unix socket the host is a word only.
	if u, err := url.Parse(c.base); err == nil && u.Host != "howdah" {
		r.Host, r.PlainHTTP = u.Host, u.Scheme == "http"
	}
	return r
}

// Images lists the images of the server's registry, by name and tag.
func (c *Client) Images(ctx context.Context) ([]api.Image, error) {
	var out []api.Image
	var repos struct {
		Repositories []string `json:"repositories"`
	}
	err := c.pages(ctx, "/v2/_catalog", &repos, func() error {
		for _, name := range repos.Repositories {
			images, err := c.imagesOf(ctx, name)
			if err != nil {
				return err
			}
			if out = append(out, images...); len(out) > maxImages {
				return fmt.Errorf("the registry has more than %d images", maxImages)
			}
		}
		return nil
	})
	return out, err
}

func (c *Client) imagesOf(ctx context.Context, name string) ([]api.Image, error) {
	var out []api.Image
	var list struct {
		Tags []string `json:"tags"`
	}
	err := c.pages(ctx, "/v2/"+name+"/tags/list", &list, func() error {
		for _, tag := range list.Tags {
			i, err := c.image(ctx, name, tag)
			if err != nil {
				return err
			}
			out = append(out, i)
		}
		return nil
	})
	return out, err
}

// image asks for the manifest of one image.
func (c *Client) image(ctx context.Context, name, tag string) (api.Image, error) {
	i := api.Image{Name: name, Tag: tag}
	resp, err := c.send(ctx, http.MethodGet, "/v2/"+name+"/manifests/"+tag, "", nil)
	if err != nil {
		return i, registryProblem(err)
	}
	defer resp.Body.Close()
	type part struct {
		Size int64 `json:"size"`
	}
	var m struct {
		Config part   `json:"config"`
		Layers []part `json:"layers"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxList)).Decode(&m); err != nil {
		return i, fmt.Errorf("cannot read the manifest of %s:%s: %w", name, tag, err)
	}
	i.Digest, i.Bytes = resp.Header.Get("Docker-Content-Digest"), m.Config.Size
	for _, l := range m.Layers {
		i.Bytes += l.Size
	}
	return i, nil
}

// pages reads a list of the registry page by page.
func (c *Client) pages(ctx context.Context, path string, into any, each func() error) error {
	for range maxImages {
		resp, err := c.send(ctx, http.MethodGet, path, "", nil)
		if err != nil {
			return registryProblem(err)
		}
		err = json.NewDecoder(io.LimitReader(resp.Body, maxList)).Decode(into)
		resp.Body.Close()
		if err != nil {
			return fmt.Errorf("cannot read the server's answer: %w", err)
		}
		if err := each(); err != nil {
			return err
		}
		next, _, found := strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
		if !found || !strings.HasPrefix(next, "/v2/") {
			return nil
		}
		path = next
	}
	return errors.New("the registry's list does not end")
}

// DeleteImage removes a tag of a repository, or by digest an image with all its
// tags.
func (c *Client) DeleteImage(ctx context.Context, name, reference string) error {
	resp, err := c.send(ctx, http.MethodDelete, "/v2/"+name+"/manifests/"+reference, "", nil)
	if err != nil {
		return registryProblem(err)
	}
	return resp.Body.Close()
}

// registryProblem reads an error of the registry, which has a form of its own.
func registryProblem(err error) error {
	p, ok := errors.AsType[*api.Problem](err)
	if !ok || p.Detail != "" {
		return err
	}
	switch p.Status {
	case http.StatusNotFound:
		p.Type, p.Detail = api.ProblemNotFound, "there is no such image; howdah image list shows all"
	case http.StatusBadRequest:
		p.Type, p.Detail = api.ProblemInvalid, "the name of the image is not right: write PROJECT/NAME[:TAG]"
	case http.StatusForbidden:
		p.Detail = "the token does not allow this for the image"
	}
	return p
}
