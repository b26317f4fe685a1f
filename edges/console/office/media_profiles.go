package office

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/postrider/postrider/edges/console/call"
	"github.com/postrider/postrider/edges/console/page"
	"github.com/postrider/postrider/edges/console/site"
)

// mediaProfileView is what a vendor takes of files.
type mediaProfileView struct {
	Name         string
	Types        []string
	MessageBytes int64 `json:"message_bytes"`
	MaxParts     int   `json:"max_parts"`
	MaxSide      int   `json:"max_side"`
	Video, Audio string
	Builtin      bool
	Stored       bool
	Problem      *string
	UpdatedAt    *string `json:"updated_at"`
}

// readProfiles lists them; there are never more than some hundred. The raw ones fill forms.
func readProfiles(v *site.Visit) ([]mediaProfileView, []json.RawMessage, error) {
	var raw site.Rows[json.RawMessage]
	if err := v.Get(api+"/media-profiles", nil, &raw); err != nil {
		return nil, nil, err
	}
	list := make([]mediaProfileView, len(raw.Data))
	for i, text := range raw.Data {
		if err := json.Unmarshal(text, &list[i]); err != nil {
			return nil, nil, err
		}
	}
	return list, raw.Data, nil
}

// bytesOf writes octets as people read them.
func bytesOf(n int64) string {
	if n >= 1_000_000 {
		return page.Decimal(float64(n)/1e6) + "\u00a0MB"
	}
	return page.Decimal(float64(n)/1e3) + "\u00a0kB"
}

func (o *office) mediaProfiles(v *site.Visit) (page.Page, error) {
	list, _, err := readProfiles(v)
	if err != nil {
		return page.Page{}, err
	}
	t := page.Table{Caption: "Media profiles", Empty: "There is no media profile.", Columns: []page.Column{{Title: "Profile"}, {Title: "Comes from"}, {Title: "Message", Right: true, Help: "The most that all files, the text and the layout together may have"}, {Title: "Files", Right: true, Help: "The most in one message"}, {Title: "Side", Right: true, Help: "The most pixels of the longer side"}, {Title: "Video and sound", Help: "What they are converted to"}, {Title: "Types"}, {Title: "Set"}}}
	for _, p := range list {
		r := page.Row{Cells: []page.Cell{page.To(p.Name, v.At("/media-profiles/"+url.PathEscape(p.Name))), profileOrigin(&p), page.Str(bytesOf(p.MessageBytes)), page.Num(p.MaxParts), page.Num(p.MaxSide), page.Str(p.Video + ", " + p.Audio), page.Str(strings.Join(p.Types, ", ")), page.Whenp(p.UpdatedAt)}}
		if p.Problem != nil {
			r.Tone = page.Bad
		}
		t.Rows = append(t.Rows, r)
	}
	p := page.Page{Title: "Media profiles", Lead: "What files vendors take: files of MMS are made fit by the profile that a vendor names.", Body: append(onlyOperators(v), t)}
	if operates(v) {
		p.Actions = []page.Action{{Text: "Add a media profile", Href: v.At("/media-profiles/new"), Main: true}}
	}
	return p, nil
}

func profileOrigin(p *mediaProfileView) page.Cell {
	switch {
	case p.Problem != nil:
		return page.Badge("broken", page.Bad, "").WithSub(*p.Problem)
	case p.Stored && p.Builtin:
		return page.Badge("changed here", page.Busy, "The release brings one of this name, which counts when this one is taken away")
	case p.Stored:
		return page.Badge("added here", page.Busy, "")
	}
	return page.Badge("release", page.Plain, "As the release brings it")
}

func mediaProfileForm() *page.Form {
	number := func(name, label, value, unit, help string) page.Field {
		return page.Field{Name: name, Label: label, Kind: page.Number, Required: true, Value: value, Unit: unit, Help: help}
	}
	choice := func(name, label, value string, options ...page.Option) page.Field {
		return page.Field{Name: name, Label: label, Kind: page.Choice, Required: true, Value: value, Options: options}
	}
	pass := []page.Option{{Value: "refuse", Text: "refused"}, {Value: "pass", Text: "passed on"}}
	f := []page.Field{
		{Name: "types", Label: "Content types", Kind: page.Lines, Required: true, Group: "What it takes", Value: "image/jpeg\nimage/png\nimage/gif", Help: "A line each. image/jpeg must be among them."},
		number("message_bytes", "A message at most", "600000", "octets", "All files, the text and the layout together."), {Name: "encoded", Label: "The limits count base64", Kind: page.Check, Help: "Which is 1.37 times the octets."},
		number("part_bytes", "A file at most", "0", "octets", "0: only the message counts."), number("other_bytes", "A file that is no picture at most", "0", "octets", "Neither JPEG, PNG nor GIF. 0: as any file."), number("max_parts", "Files in a message", "10", "", ""), number("max_side", "Longer side of a picture or video", "1920", "pixels", ""), number("max_seconds", "Video and sound at most", "0", "seconds", "0: only the octets bound them."),
		choice("video", "Video becomes", "h264", page.Option{Value: "h264", Text: "H.264 and AAC in MP4"}, page.Option{Value: "h263", Text: "H.263 and AMR in 3GP"}), choice("audio", "Sound alone becomes", "aac", words("aac", "mp3", "amr")...),
		{Name: "cut", Label: "What is too long is cut", Kind: page.Check, Help: "Else it is refused."}, choice("animated_gif", "An animation that does not fit", "keep", page.Option{Value: "keep", Text: "is kept"}, page.Option{Value: "first_frame", Text: "becomes its first picture"}, page.Option{Value: "video", Text: "becomes a video"}),
		choice("transparency", "Transparency of a picture that does not fit", "keep", page.Option{Value: "keep", Text: "PNG while that fits"}, page.Option{Value: "white", Text: "on white"}),
		choice("documents.vcard", "vCards are", "refuse", pass...), choice("documents.calendar", "Calendar entries are", "refuse", pass...), choice("documents.pdf", "PDFs are", "refuse", pass...),
	}
	f[8].Group, f[13].Group = "What becomes of files", "Documents, which nobody converts"
	return &page.Form{Submit: "Save", Fields: f}
}

func (o *office) newMediaProfile(v *site.Visit) (page.Page, error) {
	form := mediaProfileForm()
	form.Submit, form.Cancel = "Add the media profile", page.Link{Href: v.At("/media-profiles")}
	form.Fields[0].Group = ""
	form.Fields = append([]page.Field{{Name: "_name", Label: "Name", Required: true, Max: 50, Group: "What it takes", Help: "Lower-case letters, digits, _ and -."}}, form.Fields...)
	show := func() (page.Page, error) {
		return page.Page{Title: "Add a media profile", Lead: "Vendors name it. It holds for messages whose files are made ready from then on.", Crumbs: []page.Link{{Text: "Media profiles", Href: v.At("/media-profiles")}, {Text: "Add"}}, Body: append(onlyOperators(v), form)}, nil
	}
	if !v.Post() {
		return show()
	}
	if _, ok := form.Read(v.R); !ok {
		return v.Submit(site.Task{Form: form, Path: api}, show)
	}
	name := strings.TrimSpace(form.Field("_name").Value)
	list, _, err := readProfiles(v)
	if err != nil {
		return page.Page{}, err
	}
	taken := slices.ContainsFunc(list, func(p mediaProfileView) bool { return p.Name == name })
	return v.Submit(site.Task{Form: form, Method: http.MethodPut, Path: api + "/media-profiles/" + url.PathEscape(name), Then: site.To(v.At("/media-profiles/" + url.PathEscape(name))), Said: "The media profile is added.", Body: func(body map[string]any) map[string]any {
		switch {
		case name == "":
			form.Wrong("_name", "is needed")
		case taken:
			form.Wrong("_name", "is taken; open that one to change it")
		}
		return body
	}}, show)
}

// mediaProfile shows and changes one.
func (o *office) mediaProfile(v *site.Visit) (page.Page, error) {
	list, raw, err := readProfiles(v)
	if err != nil {
		return page.Page{}, err
	}
	i := slices.IndexFunc(list, func(p mediaProfileView) bool { return p.Name == v.Param("name") })
	if i < 0 {
		return v.Missing()
	}
	w, at := &list[i], v.At("/media-profiles/"+url.PathEscape(v.Param("name")))
	form := mediaProfileForm()
	form.Action = at
	if err := form.Fill(raw[i]); err != nil {
		return page.Page{}, err
	}
	show := func() (page.Page, error) {
		facts := page.Facts{Title: "The profile", Items: []page.Fact{{Label: "Comes from", Value: profileOrigin(w)}, {Label: "A message at most", Value: page.Str(bytesOf(w.MessageBytes))}, {Label: "Files in a message", Value: page.Num(w.MaxParts)}, {Label: "Longer side", Value: page.Str(fmt.Sprintf("%d pixels", w.MaxSide))},
			{Label: "Video and sound become", Value: page.Str(w.Video + ", " + w.Audio)}, {Label: "Types", Value: page.Str(strings.Join(w.Types, ", "))}, {Label: "Set", Value: page.Whenp(w.UpdatedAt)}}}
		p := page.Page{Title: "Media profile " + w.Name, Crumbs: []page.Link{{Text: "Media profiles", Href: v.At("/media-profiles")}, {Text: w.Name}}, Body: append(onlyOperators(v), facts)}
		if !operates(v) {
			return p, nil
		}
		actions := page.Section{Title: "Actions", Help: "It is as the release brings it: there is nothing to take away."}
		if w.Stored {
			text := "Refused while a vendor names it."
			if w.Builtin {
				text = "The profile that the release brings counts again as it was."
			}
			actions.Help, actions.Body = "", []page.Block{page.Disclosure{Summary: "Take it away…", Danger: true, Body: []page.Block{page.Text(text), pressed(at+"/delete", "Take it away", true)}}}
		}
		p.Body = append(p.Body, page.Split{Left: []page.Block{page.Section{ID: "settings", Title: "Settings", Body: []page.Block{form}}}, Right: []page.Block{actions}})
		return p, nil
	}
	if !v.Post() {
		return show()
	}
	return v.Submit(site.Task{Form: form, Method: http.MethodPut, Path: api + "/media-profiles/" + url.PathEscape(w.Name), Then: site.To(at), Said: "The media profile is set. It holds for messages whose files are made ready from now on."}, show)
}

func (o *office) deleteMediaProfile(v *site.Visit) (page.Page, error) {
	if _, err := v.Do(call.Request{Method: http.MethodDelete, Path: api + "/media-profiles/" + url.PathEscape(v.Param("name"))}); err != nil {
		return page.Page{}, err
	}
	return v.Done(v.At("/media-profiles"), "It is taken away.")
}
