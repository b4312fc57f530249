package wireguard

import (
	"fmt"
	"io"
	"strings"

	"rsc.io/qr"
)

// quiet is the light border that a reader of codes needs, in modules (ISO/IEC 18004,
// section 9.1).
const quiet = 4

// Two modules, one above the other, are one character. Colours are set, so that dark
// is dark on a dark terminal too.
const (
	bothLight, bothDark  = "█", " "
	upperLight, lowLight = "▀", "▄"
	whiteOnBlack         = "\x1b[37;40;1m"
	plain                = "\x1b[0m"
)

// WriteQR draws a text as a QR code for a terminal.
func WriteQR(w io.Writer, text string) error {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return fmt.Errorf("draw %d bytes as a QR code: %w", len(text), err)
	}
	var b strings.Builder
	for y := -quiet; y < code.Size+quiet; y += 2 {
		b.WriteString(whiteOnBlack)
		for x := -quiet; x < code.Size+quiet; x++ {
			upper, lower := code.Black(x, y), code.Black(x, y+1)
			switch {
			case upper && lower:
				b.WriteString(bothDark)
			case upper:
				b.WriteString(lowLight)
			case lower:
				b.WriteString(upperLight)
			default:
				b.WriteString(bothLight)
			}
		}
		b.WriteString(plain + "\n")
	}
	_, err = io.WriteString(w, b.String())
	return err
}
