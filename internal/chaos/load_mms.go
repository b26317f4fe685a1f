package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image"
	"image/png"
	"mime/multipart"
	"net/http"
	"sync"
	"time"
)

const (
	// mmsNumbers are the neighbour's: an MMS stays in the house, so it needs a number that
	// is somebody's, and there are not as many of those as messages.
	mmsNumbers = 50
	// wideEvery: each so many MMS have a picture that is wider than phones are sent, so
	// that it is converted; sameEvery: have one that others have too.
	wideEvery, sameEvery = 3, 7
	// smallSide fits everywhere. wideSide is beyond the side of every profile, narrow so
	// that converting it costs little.
	smallSide, wideSide, narrow = 40, 2400, 8
)

// mmsNumber is where message i goes if it is an MMS.
func mmsNumber(i int) string { return fmt.Sprintf("+1206220%04d", firstLine+i%mmsNumbers) }

// picture draws a PNG that no other number has. wide: it does not fit.
func picture(number int, wide bool) ([]byte, error) {
	w, h := smallSide, smallSide
	if wide {
		w, h = wideSide, narrow
	}
	p := image.NewGray(image.Rect(0, 0, w, h))
	r := seeded(uint64(number))
	for i := range p.Pix {
		p.Pix[i] = byte(r.Uint32()) & 0xf0
	}
	var b bytes.Buffer
	err := png.Encode(&b, p)
	return b.Bytes(), err
}

// oneMMS uploads a picture and sends it, the n-th.
func (l *Load) oneMMS(n uint64) {
	if m := l.offerMMS(l.ctx, n, n%wideEvery == wideEvery-1); m != nil {
		m.send()
	}
}

// offered is an MMS whose picture was uploaded.
type offered struct {
	send func() // asks for the message until there is an answer
}

// offerMMS uploads a picture for a message to one of the neighbour's numbers, at one door
// after the other until it is stored. Nil: it never will be.
func (l *Load) offerMMS(ctx context.Context, n uint64, wide bool) *offered {
	a, first := l.w.Accounts[[]string{accountPrudent, accountEager}[n%2]], int(n/2%2)
	i, ok := l.ledger.Offer(Offer{Account: a.Name, Door: restDoors[first], Hook: true, MMS: true})
	if !ok {
		return nil
	}
	number := i
	if n%sameEvery == 0 {
		number = 0
	}
	octets, err := picture(number, wide)
	if err != nil {
		l.ledger.Ended(i, answerRefused, err.Error())
		return nil
	}
	l.ledger.Uploaded(i, sha256.Sum256(octets), !wide)
	var file string
	if !l.untilAnswered(ctx, i, restDoors, first, func(address string) (refused bool, err error) {
		file, refused, err = l.upload(ctx, a, address, l.key(i)+"-file", octets, n%4 > 1)
		return refused, err
	}) {
		return nil
	}
	return &offered{func() {
		l.send(ctx, i, a, map[string]any{"from": a.From, "to": mmsNumber(i), "body": body(i, false), "subject": destination(i), "media_ids": []string{file},
			"webhook_url": l.w.HookURL(a.Name), "client_reference": destination(i), "validity_seconds": int(validity / time.Second)}, restDoors, first)
	}}
}

// upload stores a file once, as the body or as the field of a form. refused: the answer is a
// no that stays.
func (l *Load) upload(ctx context.Context, a *Account, address, key string, octets []byte, asForm bool) (id string, refused bool, err error) {
	contentType, payload := "application/octet-stream", octets
	if asForm {
		if contentType, payload, err = form(octets); err != nil {
			return "", true, err
		}
	}
	status, answer, err := l.call(ctx, a, "http://"+address+"/v1/media", contentType, key, payload)
	if err != nil {
		return "", false, err
	}
	sum := sha256.Sum256(octets)
	switch {
	case status == http.StatusCreated && answer.SHA256 == hex.EncodeToString(sum[:]):
		return answer.ID, false, nil
	case status == http.StatusServiceUnavailable:
		l.ledger.NoRoom()
	case status >= 500: // the contract's word for everything that is away is 503
		l.ledger.stray("an upload was answered %d %s", status, answer.Code)
	}
	return "", status < 400 || answer.stays(status), fmt.Errorf("an upload was answered %d %s", status, answer.Code)
}

// form puts a file into the only field of one.
func form(octets []byte) (contentType string, body []byte, err error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	field, err := w.CreateFormFile("file", "picture.png")
	if err == nil {
		_, err = field.Write(octets)
	}
	if err == nil {
		err = w.Close()
	}
	return w.FormDataContentType(), b.Bytes(), err
}

// holdMMS uploads so many pictures that have to be converted. What it returns then asks for
// their messages: whoever converts them finds what has become of the disk since.
func (l *Load) holdMMS(ctx context.Context, count int) (send func()) {
	var mu sync.Mutex
	var held []*offered
	var uploads sync.WaitGroup
	for n := range count {
		uploads.Go(func() {
			if m := l.offerMMS(l.ctx, uint64(n)*sameEvery+1, true); m != nil {
				mu.Lock()
				held = append(held, m)
				mu.Unlock()
			}
		})
	}
	done := make(chan struct{})
	l.works.Go(func() { uploads.Wait(); close(done) })
	select {
	case <-done:
	case <-ctx.Done():
	}
	return func() {
		mu.Lock()
		defer mu.Unlock()
		for _, m := range held {
			l.works.Go(m.send)
		}
	}
}
