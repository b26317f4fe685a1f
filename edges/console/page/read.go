package page

import (
	"strconv"
	"strings"
)

// Facts are the form's fields as somebody reads them who may not send it.
func (f *Form) Facts(title string) Facts {
	out := Facts{Title: title}
	for i := range f.Fields {
		field := &f.Fields[i]
		if field.Kind != Hidden && field.Kind != Secret && field.Kind != File {
			out.Items = append(out.Items, Fact{Label: field.Label, Help: field.Help, Value: field.cell()})
		}
	}
	return out
}

// cell is what a field holds.
func (f *Field) cell() Cell {
	switch f.Kind {
	case Check:
		return YesNo(f.Value == "true")
	case Moment:
		if t, ok := moment(f.Value); ok {
			return Time(t)
		}
		return None("")
	case Choice:
		return Str(f.option(f.Value))
	case Choices:
		var list []string
		for _, v := range f.Values {
			list = append(list, f.option(v))
		}
		return Str(strings.Join(list, ", "))
	case Lines, Pairs:
		return Str(strings.ReplaceAll(f.Value, "\n", ", "))
	}
	text := f.Value
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && f.Kind == Number {
		text = Grouped(n)
	}
	if f.Unit != "" && text != "" {
		text += " " + f.Unit
	}
	return Str(text)
}

// option is what the option of a value says.
func (f *Field) option(value string) string {
	for _, o := range f.Options {
		if o.Value == value {
			return o.Text
		}
	}
	return value
}
