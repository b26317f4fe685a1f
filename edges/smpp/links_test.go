package smpp

import (
	"testing"

	"github.com/postrider/postrider/internal/message"
)

func TestLinksOfFiles(t *testing.T) {
	s := &Server{MediaURL: func(f message.MediaFile) string { return "https://gw.example/media/" + f.ContentType }}
	files := []message.Media{{Position: 1, File: message.MediaFile{ContentType: "a"}}, {Position: 2, File: message.MediaFile{ContentType: "b"}}}
	for _, c := range []struct {
		m    message.Message
		want string
	}{
		{message.Message{Body: "hello"}, "hello"},
		{message.Message{Body: "hello", Media: files}, "hello\nhttps://gw.example/media/a\nhttps://gw.example/media/b"},
		{message.Message{Media: files[:1]}, "https://gw.example/media/a"},
		{message.Message{Redacted: true, Media: files}, ""},
	} {
		if got := s.withLinks(&c.m); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	s.MediaURL = nil
	if got := s.withLinks(&message.Message{Body: "hello", Media: files}); got != "hello" {
		t.Errorf("%q", got)
	}
}
