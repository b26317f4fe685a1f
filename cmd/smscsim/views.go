package main

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/smpp"
)

// destinationView is a row of GET /destinations.
type destinationView struct {
	Number      int       `json:"number"` // from 1, by first appearance: the cursor
	Destination string    `json:"destination"`
	Count       int       `json:"count"`    // complete messages, repetitions among them
	Distinct    int       `json:"distinct"` // of those, by source and text
	Parts       int       `json:"parts"`    // short messages taken
	Incomplete  int       `json:"incomplete"`
	Duplicates  int       `json:"duplicates"` // short messages that were taken before
	FirstAt     time.Time `json:"first_at"`
	LastAt      time.Time `json:"last_at"`
	Texts       []string  `json:"texts"` // sha256 of each distinct text, in hex
}

// messageView is a row of GET /messages.
type messageView struct {
	Source     string           `json:"source"`
	Text       string           `json:"text"`
	SHA256     string           `json:"sha256"` // of the text in UTF-8
	Encoding   message.Encoding `json:"encoding,omitempty"`
	DataCoding byte             `json:"data_coding"`
	Octets     string           `json:"octets,omitempty"` // in hex, of what is no text or stands behind a header
	Header     string           `json:"header,omitempty"` // in hex, of the last part: what is not concatenation
	TLVs       []tlvView        `json:"tlvs,omitempty"`   // of the last part
	Dropped    bool             `json:"dropped,omitempty"`
	Parts      int              `json:"parts"`
	Count      int              `json:"count"`
	FirstAt    time.Time        `json:"first_at"`
	LastAt     time.Time        `json:"last_at"`
}

// tlvView is an optional parameter that is not about the text and its parts.
type tlvView struct {
	Tag   string `json:"tag"`   // four digits in hex
	Value string `json:"value"` // in hex
}

// maxTextsShown bounds the texts of one row of GET /destinations.
const maxTextsShown = 100

// list gives up to limit destinations after the number, and of those the ones
// that were submitted to at or after since.
func (l *ledger) list(after int, since time.Time, limit int) []destinationView {
	l.mu.Lock()
	defer l.mu.Unlock()
	rows := []destinationView{}
	for _, d := range l.ordered[min(max(after, 0), len(l.ordered)):] {
		if len(rows) >= limit {
			break
		}
		if !d.last.Before(since) {
			rows = append(rows, d.view())
		}
	}
	return rows
}

func (d *destination) view() destinationView {
	v := destinationView{
		Number: d.number, Destination: d.address, Count: d.complete, Distinct: len(d.messages), Parts: d.parts,
		Incomplete: d.incomplete, Duplicates: d.duplicates, FirstAt: d.first, LastAt: d.last, Texts: []string{},
	}
	for _, r := range d.messages[:min(len(d.messages), maxTextsShown)] {
		v.Texts = append(v.Texts, hex.EncodeToString(r.sum[:]))
	}
	return v
}

// shown gives the messages of a destination, whose plus sign may be missing or
// one too many.
func (l *ledger) shown(address string) []messageView {
	l.mu.Lock()
	defer l.mu.Unlock()
	rows := []messageView{}
	bare := strings.TrimLeft(address, "+ ")
	for _, name := range []string{bare, "+" + bare} {
		if d := l.destinations[name]; d != nil {
			for _, r := range d.messages {
				rows = append(rows, r.view())
			}
		}
	}
	return rows
}

func (r *record) view() messageView {
	v := messageView{
		Source: r.source, Text: r.text, SHA256: hex.EncodeToString(r.sum[:]), DataCoding: r.coding,
		Octets: hex.EncodeToString(r.octets), Header: hex.EncodeToString(r.header), Dropped: r.dropped,
		Parts: r.parts, Count: r.count, FirstAt: r.first, LastAt: r.last,
	}
	for _, p := range r.tlvs {
		v.TLVs = append(v.TLVs, tlvView{Tag: fmt.Sprintf("%04X", uint16(p.Tag)), Value: hex.EncodeToString(p.Data)})
	}
	switch r.coding {
	case smpp.CodingDefault:
		v.Encoding = message.EncodingGSM7
	case smpp.CodingUCS2:
		v.Encoding = message.EncodingUCS2
	}
	return v
}

func (l *ledger) counts() totals {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.totals
	t.Destinations = len(l.ordered)
	return t
}
