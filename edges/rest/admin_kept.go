package rest

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/snapshot"
)

// keptTag groups the paths of older gateways in the document.
const keptTag = "Kept paths"

// keptPaths are those of the internal API that do not begin with internalPrefix.
var keptPaths = []string{"/clients", "/carriers", statsPath, "/reload"}

// isInternal reports whether a path is the internal API's.
func isInternal(path string) bool {
	return strings.HasPrefix(path, internalPrefix+"/") || slices.Contains(keptPaths, path)
}

// registerKept registers paths of gateways before this one, which scripts still ask. The
// lists are read alone there.
func (s *Server) registerKept(api huma.API) {
	tags := []string{keptTag}
	register(api, s.operation(huma.Operation{
		OperationID: "listClients", Method: http.MethodGet, Path: "/clients", Tags: tags, Summary: "List customers", Description: "As `" + customerPath + "`.",
	}, anyStaff()), s.listCustomers, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "listCarriers", Method: http.MethodGet, Path: "/carriers", Tags: tags, Summary: "List vendors", Description: "As `" + vendorPath + "`, without secrets.",
	}, anyStaff()), s.listVendors, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "reload", Method: http.MethodPost, Path: "/reload", Tags: tags, Summary: "Have every process read the configuration anew",
		Description: "As `" + adminPrefix + "/reload`.",
	}, staff(snapshot.RoleOperator)), func(ctx context.Context, _ *struct{}) (*output[reloadResource], error) {
		return s.reload(ctx, nil)
	}, nil)
}
