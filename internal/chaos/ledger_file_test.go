package main

import (
	"bytes"
	"crypto/sha256"
	"image/png"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/message"
)

func TestPictures(t *testing.T) {
	seen := map[[32]byte]bool{}
	for number := range 20 {
		for _, wide := range []bool{false, true} {
			octets, err := picture(number, wide)
			if err != nil {
				t.Fatal(err)
			}
			again, _ := picture(number, wide)
			p, err := png.Decode(bytes.NewReader(octets))
			if err != nil || (p.Bounds().Dx() == wideSide) != wide || len(octets) > 50_000 || !bytes.Equal(octets, again) {
				t.Fatalf("picture %d, wide %t: %v, %d octets, the same again: %t", number, wide, err, len(octets), bytes.Equal(octets, again))
			}
			if sum := sha256.Sum256(octets); seen[sum] {
				t.Errorf("picture %d is another one's", number)
			} else {
				seen[sum] = true
			}
		}
	}
}

func TestWhatIsReceived(t *testing.T) {
	small, _ := picture(1, false)
	wide, _ := picture(1, true)
	fits, converted := fileSeen{sum: sha256.Sum256(small), fits: true}, fileSeen{sum: sha256.Sum256(wide)}
	for _, c := range []struct {
		name   string
		f      fileSeen
		octets []byte
		right  bool
	}{
		{"as it was", fits, small, true},
		{"another one", fits, wide, false},
		{"made to fit", converted, small, true},
		{"not made to fit", converted, wide, false},
		{"cut short", converted, wide[:100], false},
	} {
		if err := c.f.is(c.octets); (err == nil) != c.right {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestLedgerArrivals(t *testing.T) {
	l := NewLedger()
	began := time.Now()
	text, _ := l.Offer(Offer{Account: accountPrudent, Hook: true})
	mms, _ := l.Offer(Offer{Account: accountPrudent, Hook: true, MMS: true})
	l.PartAccepted(mms, 0, message.NewID())
	in := message.NewID()
	body := []byte("a")
	for range 2 {
		l.Arrived(accountNeighbour, destination(mms), arrival{message: in, event: in}, body)
	}
	if e := l.get(mms); len(e.file.arrivals) != 1 || e.file.arrivals[0].changed {
		t.Errorf("%+v", e.file)
	}
	l.Arrived(accountNeighbour, destination(mms), arrival{message: in, event: in}, []byte("b"))
	l.Arrived(accountNeighbour, destination(mms), arrival{message: message.NewID(), event: in}, body)
	if e := l.get(mms); len(e.file.arrivals) != 2 || !e.file.arrivals[0].changed {
		t.Errorf("%+v", e.file)
	}
	l.Arrived(accountNeighbour, destination(text), arrival{message: in, event: in}, body)
	l.Arrived(accountPrudent, destination(mms), arrival{message: in, event: in}, body)
	l.Arrived(accountNeighbour, "holiday", arrival{message: in, event: in}, body)
	if strange, _ := l.Strange(); len(strange) != 3 {
		t.Errorf("strange: %q", strange)
	}

	l.NoRoom()
	id := message.NewID()
	l.PartAccepted(text, 0, id)
	l.Event(accountPrudent, destination(text), "delivered", id, message.NewID(), nil)
	now := time.Now()
	if texts, waiting := l.meanwhile(began, now); texts != 1 || waiting != 1 || l.Refusals(began, now) != 1 || l.Refusals(now, time.Time{}) != 0 {
		t.Errorf("%d texts and %d MMS, %d refusals", texts, waiting, l.Refusals(began, now))
	}
	l.Event(accountPrudent, destination(mms), "delivered", l.get(mms).ids[0], message.NewID(), nil)
	if _, waiting := l.meanwhile(began, time.Now()); waiting != 0 {
		t.Error("an MMS that was delivered waits")
	}
}

// A full disk that nobody noticed has shown nothing.
func TestMediaDiskShows(t *testing.T) {
	l := NewLedger()
	w := &World{Customer: &Customer{}}
	w.Customer.load.Store(&Load{ledger: l})
	began := time.Now()
	text, _ := l.Offer(Offer{Account: accountPrudent, Hook: true})
	mms, _ := l.Offer(Offer{Account: accountPrudent, Hook: true, MMS: true})
	for missing, now := range []func(){
		func() {},
		func() { l.NoRoom() },
		func() { l.PartAccepted(mms, 0, message.NewID()) },
	} {
		now()
		if _, err := mediaDiskWasFull(w, began, time.Now()); err == nil {
			t.Errorf("nothing is missing after step %d", missing)
		}
	}
	id := message.NewID()
	l.PartAccepted(text, 0, id)
	l.Event(accountPrudent, destination(text), "delivered", id, message.NewID(), nil)
	if _, err := mediaDiskWasFull(w, began, time.Now()); err != nil {
		t.Error(err)
	}
}
