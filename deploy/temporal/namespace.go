package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	namespacepb "go.temporal.io/api/namespace/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/searchattribute/sadefs"
	sqliteschema "go.temporal.io/server/schema/sqlite"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	// namespaceWait bounds the wait for a change to reach the frontend, whose cache is 2 s old at most.
	namespaceWait = 15 * time.Second
	namespacePoll = 50 * time.Millisecond
)

// assignFields gives every wanted attribute that has no column yet the lowest free one of its type.
// On SQL a search attribute is only an alias, kept by the namespace, of a pre-allocated column. The
// operator API picks a column by chance; a fixed choice makes two installations alike.
func assignFields(aliases map[string]string, wanted []attribute) (map[string]string, error) {
	columns := sadefs.GetDBIndexSearchAttributes(nil).CustomSearchAttributes
	fieldOf := map[string]string{}
	for field, alias := range aliases {
		fieldOf[alias] = field
	}
	added := map[string]string{}
	for _, attr := range wanted {
		if field, ok := fieldOf[attr.Name]; ok {
			if columns[field] != attr.Type {
				return nil, fmt.Errorf("search attribute %s exists with type %s, not %s", attr.Name, columns[field], attr.Type)
			}
			continue
		}
		field, ok := freeField(columns, attr.Type, aliases, added)
		if !ok {
			return nil, fmt.Errorf("search attribute %s: no column of type %s left", attr.Name, attr.Type)
		}
		added[field] = attr.Name
	}
	return added, nil
}

func freeField(columns map[string]enumspb.IndexedValueType, want enumspb.IndexedValueType, taken ...map[string]string) (string, bool) {
	for _, field := range slices.Sorted(maps.Keys(columns)) {
		used := slices.ContainsFunc(taken, func(t map[string]string) bool { _, ok := t[field]; return ok })
		if columns[field] == want && !used {
			return field, true
		}
	}
	return "", false
}

// createNamespace writes the namespace, with its search attributes, before the server starts, and
// leaves one that exists alone. Registered through the API it would become visible to the roles one
// after another, over two cache refreshes of 2 s, and the first workflows would fail meanwhile. The
// function is the server's own for this purpose; despite its package it works on any SQL store.
func createNamespace(core *config.SQL, o *options) error {
	namespace, err := sqliteschema.NewNamespaceConfig(clusterName, o.Namespace, false, nil)
	if err != nil {
		return err
	}
	aliases, err := assignFields(nil, o.SearchAttributes)
	if err != nil {
		return err
	}
	namespace.Detail.Config.Retention = durationpb.New(o.Retention)
	namespace.Detail.Config.CustomSearchAttributeAliases = aliases
	return sqliteschema.CreateNamespaces(core, namespace)
}

// syncNamespace brings an existing namespace to the declared retention and search attributes and
// returns once lists can use all of them. For a namespace that is as declared it costs two calls.
func syncNamespace(ctx context.Context, api workflowservice.WorkflowServiceClient, o *options) error {
	ctx, cancel := context.WithTimeout(ctx, namespaceWait)
	defer cancel()
	var described *workflowservice.DescribeNamespaceResponse
	err := poll(ctx, namespacePoll, func() (err error) {
		described, err = api.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: o.Namespace})
		return err
	})
	if err != nil {
		return fmt.Errorf("describe namespace %s: %w", o.Namespace, err)
	}
	current := described.GetConfig()
	added, err := assignFields(current.GetCustomSearchAttributeAliases(), o.SearchAttributes)
	if err != nil {
		return err
	}
	if len(added) > 0 || current.GetWorkflowExecutionRetentionTtl().AsDuration() != o.Retention {
		_, err := api.UpdateNamespace(ctx, &workflowservice.UpdateNamespaceRequest{
			Namespace: o.Namespace,
			Config: &namespacepb.NamespaceConfig{
				WorkflowExecutionRetentionTtl: durationpb.New(o.Retention),
				CustomSearchAttributeAliases:  added,
			},
		})
		if err != nil {
			return fmt.Errorf("update namespace %s: %w", o.Namespace, err)
		}
	}
	list := &workflowservice.ListWorkflowExecutionsRequest{Namespace: o.Namespace, PageSize: 1, Query: probeQuery(o.SearchAttributes)}
	err = poll(ctx, namespacePoll, func() error {
		_, err := api.ListWorkflowExecutions(ctx, list)
		return err
	})
	if err != nil {
		return fmt.Errorf("search attributes of %s: %w", o.Namespace, err)
	}
	return nil
}

// probeQuery names every search attribute; the frontend refuses it while it does not know them all.
func probeQuery(wanted []attribute) string {
	var conditions []string
	for _, attr := range wanted {
		conditions = append(conditions, "`"+attr.Name+"` is not null")
	}
	return strings.Join(conditions, " and ")
}

// usedColumns are the visibility columns, in lower case as Postgres folds them, that search
// attributes of any namespace use: other namespaces may live in the same database.
func usedColumns(ctx context.Context, api workflowservice.WorkflowServiceClient) (map[string]bool, error) {
	used := map[string]bool{}
	request := &workflowservice.ListNamespacesRequest{PageSize: 100}
	for {
		page, err := api.ListNamespaces(ctx, request)
		if err != nil {
			return nil, fmt.Errorf("list namespaces: %w", err)
		}
		for _, namespace := range page.GetNamespaces() {
			for field := range namespace.GetConfig().GetCustomSearchAttributeAliases() {
				used[strings.ToLower(field)] = true
			}
		}
		if len(page.GetNextPageToken()) == 0 {
			return used, nil
		}
		request.NextPageToken = page.GetNextPageToken()
	}
}

// poll calls try until it succeeds or the context ends, and then tells the last error.
func poll(ctx context.Context, every time.Duration, try func() error) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, ctx.Err())
		case <-ticker.C:
		}
	}
}
