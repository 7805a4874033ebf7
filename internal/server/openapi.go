package server

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"howdah.dev/howdah/internal/cluster"
)

// OpenAPI describes the REST API without serving it.
func OpenAPI() *huma.OpenAPI {
	return API(http.NewServeMux(), &Server{manager: &cluster.Manager{}}).OpenAPI()
}
