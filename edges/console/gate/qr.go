package gate

import (
	"fmt"
	"image/color"
	"strings"

	"github.com/boombuler/barcode/qr"

	"github.com/postrider/postrider/internal/secret"
)

// quietZone is the light margin that readers need, in modules (ISO/IEC 18004 §9.1).
const quietZone = 4

// qrSVG draws a text as a QR code with error correction M. It is dark on light in any
// theme, since many readers take no other.
func qrSVG(text secret.String) ([]byte, error) {
	code, err := qr.Encode(text.Reveal(), qr.M, qr.Auto)
	if err != nil {
		return nil, fmt.Errorf("draw a QR code of %d octets", len(text.Reveal())) // the cause would show the text
	}
	size := code.Bounds()
	var path strings.Builder
	for y := size.Min.Y; y < size.Max.Y; y++ {
		for x := size.Min.X; x < size.Max.X; x++ {
			if dark := color.GrayModel.Convert(code.At(x, y)).(color.Gray).Y < 128; !dark {
				continue
			}
			fmt.Fprintf(&path, "M%d %dh1v1h-1z", x-size.Min.X+quietZone, y-size.Min.Y+quietZone)
		}
	}
	side := size.Dx() + 2*quietZone
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" shape-rendering="crispEdges"><rect width="%d" height="%d" fill="#fff"/><path d="%s" fill="#000"/></svg>`,
		side, side, side, side, path.String()), nil
}
