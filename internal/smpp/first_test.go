package smpp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
)

// The first PDU is read whole and alone, however the octets come.
func TestReadFirst(t *testing.T) {
	for name, body := range map[string]PDU{
		"outbind": &Outbind{SystemID: "caller", Password: "open-sesame"},
		"bind":    &Bind{Mode: ModeTransmitter, SystemID: "caller", Password: "open-sesame", InterfaceVersion: Version34},
	} {
		frame, err := Append(nil, StatusOK, 7, body)
		if err != nil {
			t.Fatal(err)
		}
		a, b := net.Pipe()
		go func() {
			for _, o := range append(bytes.Clone(frame), "rest"...) {
				_, _ = a.Write([]byte{o})
			}
			_ = a.Close()
		}()
		p, err := ReadFirst(b)
		if err != nil || p.Sequence != 7 || !bytes.Equal(p.Raw, frame) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		if rest, _ := io.ReadAll(b); string(rest) != "rest" {
			t.Errorf("%s: %q follows", name, rest)
		}
	}
}

func TestReadFirstOfOthers(t *testing.T) {
	enquire, err := Append(nil, StatusOK, 1, &EnquireLink{})
	if err != nil {
		t.Fatal(err)
	}
	for name, octets := range map[string][]byte{
		"nothing":    {},
		"half":       {0, 0, 0, 16},
		"another":    enquire,
		"short":      {0, 0, 0, 15, 0, 0, 0, 0x0B, 0, 0, 0, 0, 0, 0, 0, 1},
		"long":       {0, 0, 2, 1, 0, 0, 0, 0x0B, 0, 0, 0, 0, 0, 0, 0, 1},
		"cut":        {0, 0, 0, 24, 0, 0, 0, 0x0B, 0, 0, 0, 0, 0, 0, 0, 1, 'c'},
		"no NULs":    {0, 0, 0, 18, 0, 0, 0, 0x0B, 0, 0, 0, 0, 0, 0, 0, 1, 'c', 'a'},
		"a response": {0, 0, 0, 16, 0x80, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1},
	} {
		a, b := net.Pipe()
		go func() {
			_, _ = a.Write(octets)
			_ = a.Close()
		}()
		if p, err := ReadFirst(b); err == nil {
			t.Errorf("%s: read as %+v", name, p)
		} else if wrong := name == "another" || name == "short" || name == "long" || name == "a response"; wrong != errors.Is(err, ErrNotOpening) {
			t.Errorf("%s: %v", name, err)
		}
		_ = b.Close()
	}
}
