package pages

import (
	"testing"

	"github.com/postrider/postrider/internal/pages/browser"
)

// public are the pages that anybody may read. Of those that differ by their data alone, one
// stands for all: the links to the others are followed.
var public = []string{
	"/docs",
	"/docs/errors",
	"/docs/errors/no_route",
	"/docs/webhooks",
}

// Every page holds to what holds for all pages, and is pictured. The reports of axe that do not
// fail it are logged.
func TestPages(t *testing.T) {
	t.Parallel()
	var links browser.Links
	for _, path := range public {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			tab := browser.Open(t, demo(t).url)
			judged := tab.Judge(path, &links)
			for _, fault := range judged.Faults {
				t.Error(fault)
			}
			for _, note := range judged.Notes {
				t.Log(note)
			}
		})
	}
}
