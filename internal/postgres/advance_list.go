package postgres

import "strings"

// fewRows is how long a list may be to be written out row by row. A single row becomes
// part of what reads it, as if its values stood there; an array has to be taken apart
// by a function scan and joined. Lists of up to so many rows are shapes of their own.
const fewRows = 3

// listColumn is a column of a list: what it is called, its type, and its values.
type listColumn struct {
	name, kind string
	one        func(i int) any
	all        func(n int) any // the first n as a slice, from which an array is made
}

// of makes a column of what value gives for each row, counted from 0.
func of[V any](name, kind string, value func(i int) V) listColumn {
	return listColumn{name, kind,
		func(i int) any { return value(i) },
		func(n int) any {
			list := make([]V, n)
			for i := range list {
				list[i] = value(i)
			}
			return list
		}}
}

// list adds n rows, at least one, as parameters and gives what a FROM reads them by.
func (w *writer) list(alias string, n int, columns ...listColumn) string {
	var names, parts []string
	for _, c := range columns {
		names = append(names, c.name)
		if n > fewRows {
			parts = append(parts, w.arg(c.all(n), c.kind+"[]"))
		}
	}
	as := " as " + alias + " (" + strings.Join(names, ", ") + ")"
	if n > fewRows {
		return "unnest(" + strings.Join(parts, ", ") + ")" + as
	}
	for i := range n {
		row := make([]string, len(columns))
		for k, c := range columns {
			row[k] = w.arg(c.one(i), c.kind)
		}
		parts = append(parts, "("+strings.Join(row, ", ")+")")
	}
	return "(values " + strings.Join(parts, ", ") + ")" + as
}
