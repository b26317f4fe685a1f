package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:embed assets/*
var assetFiles embed.FS

// asset is a file that pages load.
type asset struct {
	body, zipped []byte
	kind, sum    string
}

// loadAssets reads the files once for all kits; they are some 120 KB.
var loadAssets = sync.OnceValue(func() map[string]asset {
	found := map[string]asset{}
	err := fs.WalkDir(assetFiles, "assets", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := assetFiles.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		found[path.Base(name)] = asset{body: body, zipped: zipped(body), kind: mime.TypeByExtension(path.Ext(name)), sum: hex.EncodeToString(sum[:6])}
		return nil
	})
	if err != nil {
		panic("page: embedded files cannot be read: " + err.Error())
	}
	return found
})

func zipped(body []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	_, _ = w.Write(body) // a bytes.Buffer takes everything
	_ = w.Close()
	return out.Bytes()
}

// AssetPath is where a file is served: its sum is in the path, so that browsers keep it
// for good and a release brings its own. It panics for a file that there is not.
func (k *Kit) AssetPath(name string) string {
	a, ok := k.assets[name]
	if !ok {
		panic("page: there is no asset " + name)
	}
	return k.prefix + "/assets/" + a.sum + "/" + name
}

// Assets serves the files under prefix + "/assets/". They hold nothing secret and need no
// session.
func (k *Kit) Assets() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sum, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, k.prefix+"/assets/"), "/")
		a, ok := k.assets[name]
		if !ok || sum != a.sum || r.Method != http.MethodGet && r.Method != http.MethodHead {
			Secure(w.Header())
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		Secure(h)
		h.Set("Content-Type", a.kind)
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		h.Set("Vary", "Accept-Encoding")
		body := a.body
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.Set("Content-Encoding", "gzip")
			body = a.zipped
		}
		if r.Method == http.MethodGet {
			_, _ = w.Write(body) // a reader who has gone needs no answer
		}
	})
}
