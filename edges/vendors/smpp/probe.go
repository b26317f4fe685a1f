package smpp

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// Test binds once as the vendor's row says, beside all links, asks by an enquire_link
// and unbinds. detail says what it saw; the error says what went wrong, without
// credentials. A vendor that counts binds counts this one: with all of them in use it
// may be refused. What the vendor delivers over it meanwhile is refused for the moment,
// and comes again over a link.
func Test(ctx context.Context, v *snapshot.Vendor) (detail string, err error) {
	return test(ctx, v, nil)
}

func test(ctx context.Context, v *snapshot.Vendor, dial func(ctx context.Context, network, address string) (net.Conn, error)) (string, error) {
	mode, err := modeOf(v)
	if err != nil {
		return "", err
	}
	secured, err := tlsConfig(v)
	if err != nil {
		return "", err
	}
	cfg := dialConfig(v, mode, secured)
	cfg.DialContext = dial
	cfg.Handler = smpp.HandlerFunc(func(r *smpp.Request) { _ = r.Respond(smpp.StatusTempAppError, nil) })
	cfg.EnquireLink, cfg.ResponseTimeout = -1, v.ResponseTimeout
	start := time.Now()
	session, err := smpp.Dial(ctx, cfg)
	if err != nil {
		return "", err
	}
	defer session.Wait()
	defer session.Close()
	bound := time.Since(start)
	start = time.Now()
	if _, err := session.Request(ctx, &smpp.EnquireLink{}); err != nil {
		return "", fmt.Errorf("bound, but enquire_link was not answered: %w", err)
	}
	asked := time.Since(start)
	_ = session.Unbind(ctx) // whatever it says, the answer has come
	detail := fmt.Sprintf("bound as %s to %q in %v, enquire_link answered in %v", mode, clean(session.PeerID(), 15), milli(bound), milli(asked))
	if version := session.PeerVersion(); version != 0 {
		detail += fmt.Sprintf(", SMPP %d.%d", version>>4, version&0x0F)
	}
	if c, ok := session.Conn().(*tls.Conn); ok {
		detail += ", " + tls.VersionName(c.ConnectionState().Version)
	}
	return detail, nil
}

func milli(d time.Duration) time.Duration { return d.Round(time.Millisecond) }
