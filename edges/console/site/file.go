package site

import (
	"net/url"

	"github.com/postrider/postrider/edges/console/page"
)

// File answers with the file that an operation gives, such as a list as CSV; accept is the
// type that is asked for.
func (v *Visit) File(path string, query url.Values, accept string) (page.Page, error) {
	page.Secure(v.W.Header())
	if err := v.API.Pipe(v.W, v.R, path, query, accept); err != nil {
		return page.Page{}, err
	}
	return v.Answered()
}

// Part answers with blocks alone, for a form that asks while somebody types.
func (v *Visit) Part(blocks ...page.Block) (page.Page, error) {
	frame := v.Frame(v.Person)
	text, err := v.Kit.Fragment(&frame, blocks...)
	if err != nil {
		return page.Page{}, err
	}
	page.Secure(v.W.Header())
	v.W.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = v.W.Write(text) // a reader who has gone needs no answer
	return v.Answered()
}
