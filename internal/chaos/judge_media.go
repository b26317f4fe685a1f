package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/activities/prepare"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/postgres"
)

// maxPicture is more octets than any of the load's has.
const maxPicture = 1 << 20

// fatesOf reads what the record says of messages, by their numbers.
func (j *Judge) fatesOf(ctx context.Context, of []int) (map[int][]postgres.Fate, error) {
	var to []string
	referred := map[string][]string{} // by account
	for _, i := range of {
		if account, mms := j.ledger.isMMS(i); mms {
			referred[account] = append(referred[account], destination(i))
		} else {
			to = append(to, destination(i))
		}
	}
	list, err := j.w.DB.FatesTo(ctx, to)
	for account, references := range referred {
		if err != nil {
			break
		}
		var more []postgres.Fate
		more, err = j.w.DB.FatesReferred(ctx, j.w.Accounts[account].ID, references)
		list = append(list, more...)
	}
	if err != nil {
		return nil, err
	}
	fates := make(map[int][]postgres.Fate, len(list))
	for _, f := range list {
		i, ok := indexOf(f.Reference) // an MMS's
		if !ok {
			i, ok = indexOf(f.To)
		}
		if ok {
			fates[i] = append(fates[i], f)
		}
	}
	return fates, nil
}

// cameIn reads what came in of the MMS among messages.
func (j *Judge) cameIn(ctx context.Context, of []int, fates map[int][]postgres.Fate) (map[int][]postgres.Fate, error) {
	var sent []message.ID
	for _, i := range of {
		if _, mms := j.ledger.isMMS(i); mms {
			for _, f := range fates[i] {
				sent = append(sent, f.ID)
			}
		}
	}
	if len(sent) == 0 {
		return nil, nil
	}
	list, err := j.w.DB.Arrived(ctx, sent)
	if err != nil {
		return nil, err
	}
	came := map[int][]postgres.Fate{}
	for _, i := range of {
		for _, f := range fates[i] {
			came[i] = append(came[i], list[f.ID]...)
		}
	}
	return came, nil
}

// unread is why the receiver of an MMS, who was told of it, cannot read its file, or reads
// another than was sent.
func (j *Judge) unread(ctx context.Context, i int, e *entry) error {
	if len(e.file.arrivals) == 0 || j.read[i] {
		return nil
	}
	files := e.file.arrivals[0].files
	if len(files) != 1 {
		return fmt.Errorf("he was told of %d files", len(files))
	}
	octets, err := j.readMedia(ctx, files[0])
	if err != nil {
		return err
	}
	if err := e.file.is(octets); err != nil {
		return err
	}
	j.read[i] = true
	return nil
}

// is compares what was received with what was uploaded.
func (f *fileSeen) is(octets []byte) error {
	if f.fits {
		if sha256.Sum256(octets) != f.sum {
			return errors.New("it has other octets than were uploaded")
		}
		return nil
	}
	p, err := png.Decode(bytes.NewReader(octets))
	if err != nil {
		p, err = jpeg.Decode(bytes.NewReader(octets))
	}
	if err != nil {
		return fmt.Errorf("it is no picture: %w", err)
	}
	if w := p.Bounds().Dx(); w >= wideSide {
		return fmt.Errorf("it is %d pixels wide, as it was", w)
	}
	return nil
}

// readMedia reads a file by its link, from a gateway past its wire, and checks it against
// what the webhook said of it.
func (j *Judge) readMedia(ctx context.Context, f mediaLink) ([]byte, error) {
	path, ours := strings.CutPrefix(f.URL, publicURL)
	if !ours {
		return nil, fmt.Errorf("its link is %.80q", f.URL)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+j.w.Nodes[nodeREST].API+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	octets, err := io.ReadAll(io.LimitReader(resp.Body, maxPicture))
	sum := sha256.Sum256(octets)
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("its link answers %s", resp.Status)
	case int64(len(octets)) != f.SizeBytes, hex.EncodeToString(sum[:]) != f.SHA256, resp.Header.Get("Content-Type") != f.ContentType:
		return nil, fmt.Errorf("its link has %d octets of %s, and was said to have %d of %s", len(octets), resp.Header.Get("Content-Type"), f.SizeBytes, f.ContentType)
	}
	return octets, nil
}

// halfStored wants octets for every file that is ready, and a row for all octets. whole:
// each is read to its end.
func (j *Judge) halfStored(ctx context.Context, v *Verdict, whole bool) error {
	if j.w.Media == nil {
		return nil
	}
	var wrong []string
	err := wait(ctx, j.terms, func() (bool, string, error) {
		var err error
		wrong, err = j.compareMedia(ctx, whole)
		return err == nil && len(wrong) == 0, fmt.Sprint(len(wrong)), err
	})
	if err != nil {
		return err
	}
	v.HalfStored = len(wrong)
	for _, w := range wrong {
		v.detail("%s", w)
	}
	return nil
}

func (j *Judge) compareMedia(ctx context.Context, whole bool) (wrong []string, err error) {
	// What is stored is listed before its rows: they come first and go last.
	stored := map[[32]byte]int64{}
	if err := j.w.Media.List(ctx, time.Time{}, func(sum [32]byte, size int64, _ time.Time) error {
		stored[sum] = size
		return nil
	}); err != nil {
		return nil, err
	}
	kept, err := j.w.DB.KeptMedia(ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range kept {
		size, there := stored[k.SHA256]
		delete(stored, k.SHA256)
		if !k.Ready {
			continue
		}
		if there && !whole {
			if size != k.Size {
				wrong = append(wrong, fmt.Sprintf("the file %x has %d octets, and its row says %d", k.SHA256[:4], size, k.Size))
			}
			continue
		}
		// Of what came since the list only the row was seen.
		if err := j.readStored(ctx, k); err != nil {
			wrong = append(wrong, fmt.Sprintf("the file %x is ready, and cannot be read: %v", k.SHA256[:4], err))
		}
	}
	for sum := range stored {
		wrong = append(wrong, fmt.Sprintf("the octets %x are stored, and no row knows them", sum[:4]))
	}
	return wrong, nil
}

func (j *Judge) readStored(ctx context.Context, k postgres.KeptMedia) error {
	r, _, err := j.w.Media.ReadSeeker(ctx, k.SHA256)
	if err != nil {
		return err
	}
	defer r.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, r)
	if err == nil && (n != k.Size || !bytes.Equal(hash.Sum(nil), k.SHA256[:])) {
		err = fmt.Errorf("it has %d octets, or others", n)
	}
	return err
}

// mediaAtRest judges the store when no gateway runs: everything in it can be read, and no
// temporary file is left but of processes that were killed, which the upkeep knows.
func (j *Judge) mediaAtRest(ctx context.Context, v *Verdict) error {
	if j.w.Media == nil {
		return nil
	}
	if err := j.halfStored(ctx, v, true); err != nil {
		return err
	}
	died := time.Time{}
	for _, n := range j.w.Nodes {
		if at := n.Died(); at.After(died) {
			died = at
		}
	}
	left, err := j.temporary(died)
	if err != nil {
		return err
	}
	cleaned, err := j.w.Media.Clean(ctx, 0)
	if err != nil {
		return err
	}
	if cleaned > 0 {
		v.detail("the upkeep would remove %d temporary files from the media store, a day after the processes that had them were killed", cleaned)
	}
	// What it does not know stays for ever.
	stays, err := j.temporary(time.Time{})
	if err != nil {
		return err
	}
	for _, name := range stays {
		if !strings.HasPrefix(filepath.Base(name), prepare.WorkName) && !slices.Contains(left, name) {
			left = append(left, name)
		}
	}
	v.FilesLeft = len(left)
	for _, name := range left {
		v.detail("left behind: %s", name)
	}
	return nil
}

// temporary lists what is no object in the folders of media and was touched since: files of
// the store, and what is in the folder in which files are worked on.
func (j *Judge) temporary(since time.Time) (list []string, err error) {
	note := func(path string, d fs.DirEntry) error {
		info, err := d.Info()
		if err == nil && info.ModTime().After(since) {
			list = append(list, path)
		}
		return err
	}
	err = filepath.WalkDir(j.w.mediaDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || isObject(d.Name()) {
			return err
		}
		return note(path, d)
	})
	return list, errors.Join(err, filepath.WalkDir(j.w.temp, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == j.w.temp {
			return err
		}
		if err := note(path, d); err != nil || !d.IsDir() {
			return err
		}
		return fs.SkipDir
	}))
}

// isObject reports whether a name is one of those that the store gives to octets.
func isObject(name string) bool {
	_, err := hex.DecodeString(name)
	return err == nil && len(name) == 2*sha256.Size
}
