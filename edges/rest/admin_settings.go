package rest

import (
	"reflect"
	"strings"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/vendorconf"
)

// settings reads the members of a body that are settings of a document of vendorconf,
// which is a pointer, in place. Members that it does not know are for other.
func settings(doc any, other func(d *decoder, name, location string) (bool, error)) func(d *decoder, name, location string) (bool, error) {
	byName := map[string]vendorconf.Setting{}
	for _, s := range vendorconf.Settings(doc) {
		byName[s.Name] = s
	}
	return func(d *decoder, name, location string) (bool, error) {
		s, known := byName[name]
		if !known {
			return other(d, name, location)
		}
		return true, d.setting(s, location)
	}
}

// setting reads one. Null takes away what may be missing (RFC 7396); of others it counts
// as left out.
func (d *decoder) setting(s vendorconf.Setting, location string) error {
	v := s.Value
	if v.Kind() == reflect.Pointer {
		if d.peek() == 'n' {
			v.SetZero()
			return d.word("null")
		}
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.String:
		text := v.String()
		err := d.text(location, &text, layout(s.Lines()))
		v.SetString(text)
		return err
	case reflect.Bool:
		var flag *bool
		err := d.flag(location, &flag)
		if flag != nil {
			v.SetBool(*flag)
		}
		return err
	case reflect.Int:
		var n *int64
		err := d.whole(location, &n)
		if n != nil {
			v.SetInt(min(max(*n, -1), 1<<31)) // beyond every bound that there is
		}
		return err
	case reflect.Slice:
		var list *[]string
		err := d.texts(location, &list, s.Most())
		if list != nil {
			v.Set(reflect.ValueOf(*list))
		}
		return err
	}
	m := map[string]string{}
	if d.peek() == 'n' {
		m = v.Interface().(map[string]string)
	}
	err := d.pairs(location, &m, s.Most(), 32, 64)
	v.Set(reflect.ValueOf(m))
	return err
}

// unknown is for bodies that have settings and nothing else.
func unknown(*decoder, string, string) (bool, error) { return false, nil }

// inBody puts the settings that a refusal names where the caller has them, once.
func inBody(err error) error {
	e := message.AsError(err)
	if e == nil || len(e.Fields) == 0 {
		return err
	}
	out := &message.Error{Reason: e.Reason, Err: e.Err}
	for _, f := range e.Fields[:min(len(e.Fields), maxFaults)] {
		out.Fields = append(out.Fields, message.FieldError{Location: "body." + strings.TrimPrefix(f.Location, "body."), Message: f.Message})
	}
	out.Detail = describe(out.Fields)
	return out
}
