package browser

import (
	"fmt"
	"os"
	"testing"

	"github.com/postrider/postrider/internal/stack/stacktest"
)

func TestMain(m *testing.M) {
	if profile := os.Getenv("BROWSER_PROFILE"); profile != "" {
		end(profile, os.Getenv("BROWSER_END"))
	}
	stacktest.Main(m, Stop)
}

// end is what a test binary with a browser may come to; see TestNothingIsLeft.
func end(profile, how string) {
	b, err := start(profile)
	if err != nil {
		panic(err)
	}
	fmt.Println("up")
	switch how {
	case "stop":
		if err := b.stop(); err != nil {
			panic(err)
		}
		os.Exit(0)
	case "panic":
		panic("as it was to")
	case "kill":
		select {}
	}
}
