// Package page draws the web pages of the console and the portal: one layout, one
// stylesheet, and a small set of blocks (facts, tables, forms, notices, charts and so on)
// of which every page is put together in Go. A page states what it shows; how that looks,
// reads aloud, prints and fits on a phone is decided here, once.
//
// A page is a Page: a title and blocks. A door (the console, the portal) makes a Kit with
// its prefix, mounts Kit.Assets and answers requests with Kit.Render, to which it gives a
// Frame: whose page it is and where it lies in the navigation. Strings may hold anything;
// templates escape them.
//
// Forms have one mechanism: a Form lists fields named by the path of the member of the
// API's JSON body that they set ("limits.per_second"). Fill takes values from a resource,
// Read makes the body of what was sent, and Refuse puts the API's errors at their fields.
//
// Pages work without JavaScript. With it, times are shown in the reader's zone, tables are
// paged in place, live parts follow server-sent events, and charts are drawn; without it a
// chart is its table.
package page
