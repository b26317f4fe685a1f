package rest

import (
	"maps"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// prune removes the schemas that no operation refers to: those of huma's own errors,
// and in the internal API those of the customers' operations that it leaves out.
func prune(doc *huma.OpenAPI) {
	schemas := doc.Components.Schemas.Map()
	used := map[string]bool{}
	var visit func(s *huma.Schema)
	visit = func(s *huma.Schema) {
		if s == nil {
			return
		}
		if name := s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]; name != "" && !used[name] {
			used[name] = true
			visit(schemas[name])
		}
		partsOf(s, visit)
	}
	bodies := func(content map[string]*huma.MediaType) {
		for _, m := range content {
			visit(m.Schema)
		}
	}
	for _, item := range doc.Paths {
		for _, op := range operationsOf(item) {
			for _, p := range op.Parameters {
				visit(p.Schema)
			}
			if op.RequestBody != nil {
				bodies(op.RequestBody.Content)
			}
			for _, r := range op.Responses {
				bodies(r.Content)
			}
		}
	}
	maps.DeleteFunc(schemas, func(name string, _ *huma.Schema) bool { return !used[name] })
}

// nullEnums adds null to the words of members that may be null: in OpenAPI 3.1 a type
// with null alone does not allow it.
func nullEnums(s *huma.Schema) {
	if s == nil {
		return
	}
	if s.Nullable && len(s.Enum) > 0 && !slices.Contains(s.Enum, nil) {
		s.Enum = append(slices.Clone(s.Enum), nil)
	}
	partsOf(s, nullEnums)
}

// partsOf visits the schemas that s is made of. They may be nil.
func partsOf(s *huma.Schema, visit func(*huma.Schema)) {
	visit(s.Items)
	visit(s.Not)
	for _, list := range [][]*huma.Schema{s.OneOf, s.AnyOf, s.AllOf} {
		for _, one := range list {
			visit(one)
		}
	}
	for _, p := range s.Properties {
		visit(p)
	}
	if more, ok := s.AdditionalProperties.(*huma.Schema); ok {
		visit(more)
	}
}
