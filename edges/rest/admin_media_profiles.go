package rest

import (
	"context"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/mediaprofile"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// MediaProfiles keeps what vendors take of files. A method that changes something leaves
// a line in the audit log.
type MediaProfiles interface {
	// MediaProfiles lists those that are stored, by name.
	MediaProfiles(ctx context.Context) ([]mediaprofile.Stored, error)
	// SetMediaProfile stores one over what there is of its name; ReasonInvalidRequest names
	// the field that breaks a rule.
	SetMediaProfile(ctx context.Context, by message.Actor, p mediaprofile.Profile) (mediaprofile.Stored, error)
	// RemoveMediaProfile takes a stored one away. ReasonNotFound when there is none,
	// ReasonConflict when a vendor names it and nothing of its name would be left.
	RemoveMediaProfile(ctx context.Context, by message.Actor, name string) error
}

// MediaProfileDefinition is a profile but for its name. It is exported only because huma
// looks into embedded types no other way.
type MediaProfileDefinition struct {
	Types        []string                `json:"types" nullable:"false" maxItems:"50" doc:"Content types that it takes of pictures, video, sound and text; image/jpeg must be among them" example:"[\"image/jpeg\",\"video/mp4\"]"`
	MessageBytes int64                   `json:"message_bytes" minimum:"40000" maximum:"25000000" doc:"The most that all files, the text and the layout together may have, in octets" example:"600000"`
	Encoded      bool                    `json:"encoded" doc:"The limits count base64, which is 1.37 times the octets"`
	PartBytes    int64                   `json:"part_bytes" minimum:"0" maximum:"25000000" doc:"The most that one file may have, in octets; 0: only message_bytes counts"`
	OtherBytes   int64                   `json:"other_bytes" minimum:"0" maximum:"25000000" doc:"The most for a file that is neither JPEG, PNG nor GIF; 0: as part_bytes"`
	MaxParts     int                     `json:"max_parts" minimum:"1" maximum:"100" doc:"How many files it takes in one message" example:"10"`
	MaxSide      int                     `json:"max_side" minimum:"160" maximum:"12000" doc:"The most pixels of the longer side of a picture or video" example:"1920"`
	Video        string                  `json:"video" enum:"h264,h263" doc:"What video is converted to: H.264 and AAC in MP4, or H.263 and AMR in 3GP"`
	Audio        string                  `json:"audio" enum:"aac,mp3,amr" doc:"What sound alone is converted to"`
	MaxSeconds   int                     `json:"max_seconds" minimum:"0" maximum:"600" doc:"The most seconds of video and sound; 0: only the octets bound them"`
	Cut          bool                    `json:"cut" doc:"What is too long is cut; else it is refused"`
	AnimatedGIF  string                  `json:"animated_gif" enum:"keep,first_frame,video" doc:"What becomes of an animation that does not fit"`
	Transparency string                  `json:"transparency" enum:"keep,white" doc:"What becomes of it in a picture that does not fit: PNG while that fits, or on white"`
	Documents    MediaProfileDocumentSet `json:"documents" doc:"Which of those that nobody converts are passed on; left out: refused"`
}

// MediaProfileDocumentSet is exported as MediaProfileDefinition is.
type MediaProfileDocumentSet struct {
	VCard    string `json:"vcard" enum:"pass,refuse"`
	Calendar string `json:"calendar" enum:"pass,refuse"`
	PDF      string `json:"pdf" enum:"pass,refuse"`
}

type mediaProfileBody struct{ MediaProfileDefinition }

// TransformSchema asks for what has no zero value that means something.
func (mediaProfileBody) TransformSchema(in huma.Registry, s *huma.Schema) *huma.Schema {
	s.Required = []string{"types", "message_bytes", "max_parts", "max_side", "video", "audio", "animated_gif", "transparency"}
	documents := huma.SchemaFromType(in, reflect.TypeFor[MediaProfileDocumentSet]())
	documents.Required, documents.Description = nil, s.Properties["documents"].Description
	s.Properties["documents"] = documents
	return s
}

type mediaProfileResource struct {
	_    struct{} `json:"-" additionalProperties:"true"`
	Name string   `json:"name" example:"att"`
	MediaProfileDefinition
	Builtin   bool    `json:"builtin" doc:"The release brings a profile of this name, which counts when this one is taken away"`
	Stored    bool    `json:"stored" doc:"It was set here; else it is as the release brings it"`
	Problem   *string `json:"problem" doc:"Why what is stored cannot be used: it does not count until it is set anew. null: nothing"`
	UpdatedAt *string `json:"updated_at" format:"date-time" doc:"null: it is not stored"`
}

func mediaProfileOf(p mediaprofile.Stored) mediaProfileResource {
	_, builtin := mediaprofile.Builtin(p.Name)
	word := func(w string) string {
		if w == mediaprofile.Pass {
			return w
		}
		return mediaprofile.Refuse
	}
	return mediaProfileResource{
		Name: p.Name, Builtin: builtin, Stored: !p.UpdatedAt.IsZero(), Problem: optional(p.Broken), UpdatedAt: optionalTime(p.UpdatedAt),
		MediaProfileDefinition: MediaProfileDefinition{
			Types: append([]string{}, p.Types...), MessageBytes: p.MessageBytes, Encoded: p.Encoded, PartBytes: p.PartBytes, OtherBytes: p.OtherBytes, MaxParts: p.MaxParts,
			MaxSide: p.MaxSide, Video: p.Video, Audio: p.Audio, MaxSeconds: p.MaxSeconds, Cut: p.Cut, AnimatedGIF: p.AnimatedGIF, Transparency: p.Transparency,
			Documents: MediaProfileDocumentSet{VCard: word(p.Documents.VCard), Calendar: word(p.Documents.Calendar), PDF: word(p.Documents.PDF)},
		},
	}
}

const mediaProfilePath = adminPrefix + "/media-profiles"

func (s *Server) registerMediaProfiles(api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	tags := []string{"Vendors"}
	register(api, s.operation(huma.Operation{
		OperationID: "listMediaProfiles", Method: http.MethodGet, Path: mediaProfilePath, Tags: tags, Summary: "List media profiles",
		Description: "What `media_profile` of a vendor may name, by name: those that the release brings and those that were set here. There are never more than some hundred.",
	}, anyStaff()), s.listMediaProfiles, nil)
	register(api, s.operation(huma.Operation{
		OperationID: "setMediaProfile", Method: http.MethodPut, Path: mediaProfilePath + "/{name}", Tags: tags, Summary: "Set a media profile",
		Description: "Adds one, or takes the place of the one of this name as a whole, also of one that the release brings. It holds on every process within 5 seconds, for messages whose files are made ready from then on.",
	}, staff(snapshot.RoleOperator).taking(), 400, 409, 413, 415), s.setMediaProfile, bodyOf[mediaProfileBody](schemas))
	register(api, s.operation(huma.Operation{
		OperationID: "removeMediaProfile", Method: http.MethodDelete, Path: mediaProfilePath + "/{name}", Tags: tags, Summary: "Take a media profile away",
		Description: "One that the release brings counts again as it was. Any other is refused with 409 while a vendor names it.", DefaultStatus: http.StatusNoContent,
	}, staff(snapshot.RoleOperator), 404, 409), s.removeMediaProfile, nil)
}

func (s *Server) listMediaProfiles(ctx context.Context, _ *struct{}) (*output[list[mediaProfileResource]], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	rows, err := s.Admin.MediaProfiles.MediaProfiles(ctx)
	if err != nil {
		return nil, s.problem(exchangeOf(ctx), err, 0)
	}
	for _, p := range mediaprofile.Defaults() {
		if !slices.ContainsFunc(rows, func(r mediaprofile.Stored) bool { return r.Name == p.Name }) {
			rows = append(rows, mediaprofile.Stored{Profile: p})
		}
	}
	slices.SortFunc(rows, func(a, b mediaprofile.Stored) int { return strings.Compare(a.Name, b.Name) })
	return listed(rows, nil, mediaProfileOf), nil
}

// MediaProfileInput names a media profile. It is exported only because huma looks into
// embedded types no other way.
type MediaProfileInput struct {
	Name string `path:"name" maxLength:"50" doc:"Its name, of lower-case letters, digits, _ and -" example:"att"`
}

type mediaProfileSetInput struct {
	MediaProfileInput
	RawBody []byte
}

// profileMember reads a member of a profile. What the profile makes of it is checked when
// it is stored.
func profileMember(d *decoder, p *mediaprofile.Profile, name, location string) (bool, error) {
	number := func(into *int64) error {
		var n *int64
		err := d.whole(location, &n)
		if n != nil {
			*into = *n
		}
		return err
	}
	short := func(into *int) error {
		n := int64(*into)
		err := number(&n)
		*into = int(min(max(n, -1), 1<<31)) // beyond every bound that there is
		return err
	}
	flag := func(into *bool) error {
		v := into
		err := d.flag(location, &v)
		*into = *v
		return err
	}
	switch name {
	case "types":
		list := &p.Types
		err := d.texts(location, &list, 50)
		p.Types = *list
		return true, err
	case "message_bytes":
		return true, number(&p.MessageBytes)
	case "encoded":
		return true, flag(&p.Encoded)
	case "part_bytes":
		return true, number(&p.PartBytes)
	case "other_bytes":
		return true, number(&p.OtherBytes)
	case "max_parts":
		return true, short(&p.MaxParts)
	case "max_side":
		return true, short(&p.MaxSide)
	case "video":
		return true, d.text(location, &p.Video, oneLine)
	case "audio":
		return true, d.text(location, &p.Audio, oneLine)
	case "max_seconds":
		return true, short(&p.MaxSeconds)
	case "cut":
		return true, flag(&p.Cut)
	case "animated_gif":
		return true, d.text(location, &p.AnimatedGIF, oneLine)
	case "transparency":
		return true, d.text(location, &p.Transparency, oneLine)
	case "documents":
		return true, d.nested(location, func(d *decoder, name, at string) (bool, error) {
			into, ok := map[string]*string{"vcard": &p.Documents.VCard, "calendar": &p.Documents.Calendar, "pdf": &p.Documents.PDF}[name]
			if !ok {
				return false, nil
			}
			return true, d.text(at, into, oneLine)
		})
	}
	return false, nil
}

func (s *Server) setMediaProfile(ctx context.Context, in *mediaProfileSetInput) (*output[mediaProfileResource], error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	p := mediaprofile.Profile{Name: in.Name}
	status, refusal := readObject(in.RawBody, func(d *decoder, name, location string) (bool, error) { return profileMember(d, &p, name, location) }, nil)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	stored, err := s.Admin.MediaProfiles.SetMediaProfile(ctx, x.actor(), p)
	if err != nil {
		return nil, s.problem(x, whereGiven(err), 0)
	}
	return &output[mediaProfileResource]{Body: mediaProfileOf(stored)}, nil
}

// whereGiven puts the fields that a refusal names where the caller has them: the name is
// in the path.
func whereGiven(err error) error {
	if e := message.AsError(err); e != nil && len(e.Fields) == 1 && e.Fields[0].Location == "name" {
		e.Fields[0].Location = "path.name"
		return e
	}
	return inBody(err)
}

func (s *Server) removeMediaProfile(ctx context.Context, in *MediaProfileInput) (*nothing, error) {
	ctx, cancel := context.WithTimeout(ctx, s.answerTimeout())
	defer cancel()
	x := exchangeOf(ctx)
	if err := s.Admin.MediaProfiles.RemoveMediaProfile(ctx, x.actor(), in.Name); err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &nothing{}, nil
}
