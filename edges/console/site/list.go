package site

import (
	"net/url"

	"github.com/postrider/postrider/edges/console/page"
)

// Rows is a page of a list of an API.
type Rows[T any] struct {
	Data       []T     `json:"data"`
	NextCursor *string `json:"next_cursor"`
	// SearchedUntil is how far back a search has looked, of those that say so.
	SearchedUntil *string `json:"searched_until"`
}

// List reads the page of a list that the request asks for. The query of the filter, of the
// request's page, and fixed parameters go together; filter may be nil.
func List[T any](v *Visit, path string, filter *page.Form, fixed url.Values) (*Rows[T], error) {
	query := url.Values{}
	if filter != nil {
		filter.From(v.R.URL.Query())
		query = filter.Query()
	}
	for name, values := range fixed {
		query[name] = values
	}
	if cursor := v.R.URL.Query().Get("cursor"); cursor != "" {
		query.Set("cursor", cursor)
	}
	rows := &Rows[T]{}
	if err := v.Get(path, query, rows); err != nil {
		return nil, err
	}
	return rows, nil
}

// Table fills in a table what is common to lists: its rows, and the ways to other pages.
func Table[T any](v *Visit, rows *Rows[T], t page.Table, row func(T) page.Row) page.Table {
	for _, r := range rows.Data {
		t.Rows = append(t.Rows, row(r))
	}
	at := func(cursor string) string {
		q := v.R.URL.Query()
		q.Del("cursor")
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		if len(q) == 0 {
			return v.R.URL.Path
		}
		return v.R.URL.Path + "?" + q.Encode()
	}
	if rows.NextCursor != nil {
		t.Next = at(*rows.NextCursor)
	}
	if v.R.URL.Query().Get("cursor") != "" {
		t.First = at("")
	}
	return t
}
