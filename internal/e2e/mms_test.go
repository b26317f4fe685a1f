package e2e

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/postrider/postrider/edges/vendors/vendortest"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// noise is a picture that does not compress well.
func noise(width, height int) image.Image {
	p := image.NewRGBA(image.Rect(0, 0, width, height))
	r := rand.New(rand.NewPCG(1, 2))
	for y := range height {
		for x := range width {
			v := r.Uint32()
			p.SetRGBA(x, y, color.RGBA{byte(v), byte(v >> 8), byte(v >> 16), 255})
		}
	}
	return p
}

// photo is a JPEG of some megapixels and many octets.
func photo(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, noise(3000, 2000), &jpeg.Options{Quality: 92}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// read reads a file as a vendor does: without credentials.
func (s *system) read(t *testing.T, url string) (contentType string, octets []byte) {
	t.Helper()
	resp, err := s.client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	octets, err = io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s answers %d, %v", url, resp.StatusCode, err)
	}
	return resp.Header.Get("Content-Type"), octets
}

// files serves a small picture, which it has trouble with at first, a vCard and a film.
func files(t *testing.T) (url string) {
	t.Helper()
	var asked atomic.Int32
	var dot bytes.Buffer
	if err := png.Encode(&dot, noise(8, 8)); err != nil {
		t.Fatal(err)
	}
	clip := sample(t, "clip.mp4")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/dot.png" && asked.Add(1) == 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/dot.png":
			_, _ = w.Write(dot.Bytes())
		case r.URL.Path == "/clip.mp4":
			_, _ = w.Write(clip)
		case r.URL.Path == "/card.vcf":
			_, _ = io.WriteString(w, "BEGIN:VCARD\r\nVERSION:3.0\r\nN:Rider;Post\r\nFN:Post Rider\r\nEND:VCARD\r\n")
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// mms: text, a picture that is too large for a vendor, one from a URL that fails at first,
// and a vCard come to the vendor as files that it takes.
func (v *overHTTP) mms(t *testing.T) {
	s, hosted := v.s, files(t)
	up := s.upload(photo(t))
	if up.SizeBytes < 5_000_000 {
		t.Fatalf("the photo has %d octets, which every vendor takes", up.SizeBytes)
	}
	id := s.post(map[string]any{"from": from, "to": v.to(8000), "body": "a day at the sea", "subject": "Holiday",
		"media_urls": []string{hosted + "/dot.png", hosted + "/card.vcf"}, "media_ids": []string{up.ID}}).ID
	c := v.came(8000, 1)
	if c.Text != "a day at the sea" || len(c.Media) != 3 {
		t.Fatalf("came as %+v", c)
	}
	var types []string
	for i, at := range c.Media {
		kind, octets := s.read(t, at)
		types = append(types, kind)
		if i < 2 {
			continue
		}
		p, err := jpeg.Decode(bytes.NewReader(octets))
		if err != nil || p.Bounds().Dx() < p.Bounds().Dy() || int64(len(octets)) >= up.SizeBytes {
			t.Errorf("the photo came in %d octets, %v", len(octets), err)
		}
	}
	if want := []string{"image/png", "text/vcard; charset=utf-8", "image/jpeg"}; !slices.Equal(types, want) {
		t.Errorf("the files are %v, want %v", types, want)
	}
	v.says(c, message.ReceiptDelivered)
	s.is(id, message.StatusDelivered)
	v.once(t, 8000, 1)

	m := s.get(id)
	if m.Type != "mms" || m.Segments != 1 || m.Subject != "Holiday" || len(m.Media) != 3 || m.Media[2].SHA256 != up.SHA256 || m.Media[2].ID == up.ID {
		t.Errorf("it shows as %+v", m)
	}
	if _, octets := s.read(t, m.Media[2].URL); int64(len(octets)) != up.SizeBytes {
		t.Errorf("its own file has %d octets", len(octets))
	}
	v.refusedMedia(t, hosted, up)
	v.madeSmaller(t, up)
	v.mmsBatch(t, up)
	v.inboundMMS(t)
}

// mmsBatch: rows have the file of their batch, or their own, beside its links.
func (v *overHTTP) mmsBatch(t *testing.T, common file) {
	s, hosted := v.s, files(t)
	own := s.upload(sample(t, "clip.mp4"))
	rows := []map[string]any{{"to": v.to(8200), "variables": map[string]string{"n": "one"}},
		{"to": v.to(8201), "variables": map[string]string{"n": "two"}, "media_ids": []string{own.ID}}}
	id := s.batch("mms-"+v.name, 0, len(rows), map[string]any{"messages": rows, "body": "row {{n}}", "subject": "For {{n}}",
		"media_ids": []string{common.ID}, "media_urls": []string{hosted + "/card.vcf"}})
	for i, want := range []struct{ text, kind string }{{"row one", "image/jpeg"}, {"row two", "video/"}} {
		c := v.came(8200+i, 1)
		if c.Text != want.text || len(c.Media) != 2 {
			t.Fatalf("row %d came as %+v", i+1, c)
		}
		if kind, octets := s.read(t, c.Media[1]); !strings.HasPrefix(kind, want.kind) || len(octets) == 0 {
			t.Errorf("the file of row %d is %s with %d octets", i+1, kind, len(octets))
		}
		v.says(c, message.ReceiptDelivered)
		v.once(t, 8200+i, 1)
	}
	s.until("the batch counts them", func() bool {
		b, ok := s.batchOf(id)
		return ok && b.Status == "completed" && b.Counts.Delivered == int64(len(rows))
	})
}

// inboundMMS: files of a handset are fetched from the vendor and from nowhere else, and
// the owner finds them here.
func (v *overHTTP) inboundMMS(t *testing.T) {
	s := v.s
	hosted := files(t)
	m := vendortest.Inbound{ID: "mms-" + v.name, From: v.to(9100), To: from, Text: "from the sea", Media: []string{hosted + "/card.vcf", hosted + "/dot.png", "http://localhost:1/elsewhere.png"}}
	for range 2 {
		if err := v.SendInbound(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	s.receives(t, m.From, m.Text)
	page := s.inbound(m.From)
	if len(page) != 1 || page[0].Type != "mms" || len(page[0].Media) != 2 {
		t.Fatalf("%+v", page)
	}
	var types []string
	for _, f := range page[0].Media {
		kind, octets := s.read(t, f.URL)
		if types = append(types, kind); int64(len(octets)) != f.SizeBytes {
			t.Errorf("%d octets of %+v", len(octets), f)
		}
	}
	if !slices.Equal(types, []string{"text/vcard; charset=utf-8", "image/png"}) || strings.Contains(fmt.Sprint(page), hosted) {
		t.Errorf("the owner has %v: %+v", types, page)
	}
}

// mmsInTheHouse: what goes to a number of ours comes in there, with its files, and no
// vendor has it.
func (s *system) mmsInTheHouse(t *testing.T) {
	const neighbour = "+12025550177"
	if err := s.db.CreateNumber(t.Context(), actor, snapshot.Number{Number: neighbour, AccountID: s.account, Type: snapshot.LongCode, SMSEnabled: true, MMSEnabled: true}); err != nil {
		t.Fatal(err)
	}
	s.alter("update accounts set internal_delivery = true")
	s.current()
	var dot bytes.Buffer
	if err := png.Encode(&dot, noise(8, 8)); err != nil {
		t.Fatal(err)
	}
	up := s.upload(dot.Bytes())
	s.is(s.post(map[string]any{"from": from, "to": neighbour, "body": "next door", "media_ids": []string{up.ID}}).ID, message.StatusDelivered)
	s.receives(t, from, "next door")
	page := s.inbound(from)
	if len(page) != 1 || len(page[0].Media) != 1 {
		t.Fatalf("%+v", page)
	}
	if kind, octets := s.read(t, page[0].Media[0].URL); kind != "image/png" || len(octets) == 0 {
		t.Errorf("it has %d octets of %s", len(octets), kind)
	}
}

// madeSmaller: a vendor that finds the files too large gets smaller ones, once, and none
// that were to go as they are.
func (v *overHTTP) madeSmaller(t *testing.T, up file) {
	s := v.s
	tooLarge := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"code":21623,"message":"too large","errors":[{"code":"40317","title":"Invalid MMS content"}]}`)
	}
	v.Do(tooLarge)
	id := s.post(map[string]any{"from": from, "to": v.to(8010), "body": "once more", "media_ids": []string{up.ID}}).ID
	c := v.came(8010, 2)
	var sizes []int
	for _, each := range v.Came() {
		if each.To == v.to(8010) {
			_, octets := s.read(t, each.Media[0])
			sizes = append(sizes, len(octets))
		}
	}
	if len(sizes) != 2 || sizes[1] > sizes[0]*6/10 {
		t.Errorf("the photo came in %d octets", sizes)
	}
	v.says(c, message.ReceiptDelivered)
	s.is(id, message.StatusDelivered)

	v.Do(tooLarge, tooLarge)
	never := s.post(map[string]any{"from": from, "to": v.to(8011), "body": "never", "media_ids": []string{up.ID}}).ID
	if m := s.final(never); m.Status != string(message.StatusFailed) || m.Error == nil || m.Error.Code != string(message.ReasonMediaRejected) {
		t.Errorf("it is %s with %+v", m.Status, m.Error)
	}
	v.once(t, 8011, 2)
	var dot bytes.Buffer
	if err := png.Encode(&dot, noise(8, 8)); err != nil {
		t.Fatal(err)
	}
	small := s.upload(dot.Bytes())
	v.Do(tooLarge)
	asIs := s.post(map[string]any{"from": from, "to": v.to(8012), "media_ids": []string{small.ID}, "media_transcoding": "bypass"}).ID
	if m := s.final(asIs); m.Status != string(message.StatusFailed) {
		t.Errorf("it is %s", m.Status)
	}
	v.once(t, 8012, 1)
	if told := string(s.timeline(id).Body); !strings.Contains(told, `"smaller":true`) || strings.Contains(told, v.name) {
		t.Errorf("the timeline: %s", told)
	}
}

// refusedMedia: what a vendor does not take as it is, and what cannot be fetched.
func (v *overHTTP) refusedMedia(t *testing.T, hosted string, up file) {
	s := v.s
	asIs := s.post(map[string]any{"from": from, "to": v.to(8001), "media_ids": []string{up.ID}, "media_transcoding": "bypass"}).ID
	gone := s.post(map[string]any{"from": from, "to": v.to(8002), "body": "look", "media_urls": []string{hosted + "/nothing.png"}}).ID
	for id, want := range map[string]message.Reason{asIs: message.ReasonMediaRejected, gone: message.ReasonMediaUnavailable} {
		if m := s.final(id); m.Status != string(message.StatusFailed) || m.Error == nil || m.Error.Code != string(want) {
			t.Errorf("it is %s with %+v, want %s", m.Status, m.Error, want)
		}
	}
	v.once(t, 8001, 0)
	v.once(t, 8002, 0)
	a, err := s.submit("", []byte(`{"from":"`+from+`","to":"`+v.to(8003)+`","media_ids":["01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"]}`))
	if err != nil || a.StatusCode() != http.StatusUnprocessableEntity || !strings.Contains(string(a.Body), "body.media_ids[0]") {
		t.Errorf("of a file that is not there: %v, %+v", err, a)
	}
}
