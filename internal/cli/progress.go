package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/postrider/postrider/internal/client/api"
)

// progress shows how far a batch is: a bar that is drawn over itself on a terminal, else a
// line for each tenth and each change of status. A library of bars would bring threads and
// colours for what is one line.
type progress struct {
	out      io.Writer
	location *time.Location
	width    int // of the terminal; 0: it is none

	status api.BatchStatus
	tenth  int64
	drawn  bool // the cursor is behind the bar
}

func newProgress(out io.Writer, location *time.Location) *progress {
	p := &progress{out: out, location: location, tenth: -1}
	if file, ok := out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		if p.width, _, _ = term.GetSize(int(file.Fd())); p.width <= 0 {
			p.width = 80
		}
	}
	return p
}

func (p *progress) show(b *api.Batch) {
	total := max(1, b.Counts.Total)
	worked := b.Counts.Total - b.Counts.Pending
	text := fmt.Sprintf("%d of %d rows, %s", worked, b.Counts.Total, b.Status)
	if b.Counts.Rejected > 0 {
		text += fmt.Sprintf(", %d refused", b.Counts.Rejected)
	}
	if b.Eta != nil && b.CompletedAt == nil {
		text += ", until " + b.Eta.In(p.location).Format("15:04:05")
	}
	if p.width > 0 {
		const size = 30
		full := int(worked * size / total)
		line := "[" + strings.Repeat("#", full) + strings.Repeat(".", size-full) + "] " + text
		fmt.Fprintf(p.out, "\r\x1b[K%s", clip(line, p.width-1))
		p.drawn = true
		return
	}
	if tenth := worked * 10 / total; tenth != p.tenth || b.Status != p.status {
		p.tenth, p.status = tenth, b.Status
		fmt.Fprintln(p.out, text)
	}
}

// end leaves the bar as it is, on a line of its own.
func (p *progress) end() {
	if p.drawn {
		fmt.Fprintln(p.out)
		p.drawn = false
	}
}
