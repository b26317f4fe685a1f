package rest

import (
	"testing"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
)

// adminOperations is the document of the internal API with what is known of its
// operations beside it.
func adminOperations(t testing.TB) *huma.OpenAPI {
	t.Helper()
	api := humachi.New(chi.NewRouter(), adminConfig())
	s := &Server{Admin: &Admin{}}
	s.registerAdmin(api)
	finish(api.OpenAPI())
	return api.OpenAPI()
}
