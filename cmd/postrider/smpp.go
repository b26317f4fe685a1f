package main

import (
	"context"
	"crypto/tls"
	"time"

	"github.com/postrider/postrider/edges/smpp"
	vendorsmpp "github.com/postrider/postrider/edges/vendors/smpp"
	"github.com/postrider/postrider/internal/message"
	wire "github.com/postrider/postrider/internal/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// joinSMPP makes the server of customers' ESMEs. It is there before anything is
// owed to them, and hears of it at once; nothing runs yet.
func (g *Gateway) joinSMPP() {
	c := g.Config
	g.smpp = &smpp.Server{
		Ingress:   g.ingress,
		Journal:   g.db,
		Snapshot:  g.config.Current,
		Log:       g.Log.With("part", "smpp"),
		Instance:  g.instance(),
		ProxyFrom: c.SMPPProxyFrom,
		Metrics:   g.smppMetrics(),
		MediaURL:  g.mediaURL,

		MaxConnections: c.SMPPMaxConnections,
		MaxUnbound:     c.SMPPMaxUnbound,
		MaxPerAddress:  c.SMPPMaxPerAddress,
		ConnectRate:    c.SMPPConnectRate,
		Inactivity:     c.SMPPInactivity,
	}
	visitors := &vendorsmpp.Desk{OnReceipt: g.ingress.Receipt, OnInbound: g.ingress.Inbound, Log: g.Log.With("part", "vendor")}
	g.smpp.FromVendor = func(v *snapshot.Vendor, r *wire.Request) { visitors.Take(context.Background(), v, r) }
	g.smpp.Numbers = g.limiter()
	if g.shared != nil {
		g.smpp.Rates = g.shared
	}
	g.db.OnOwed(g.smpp.Poke)
}

// startSMPP listens for customers' ESMEs.
func (g *Gateway) startSMPP() error {
	c := g.Config
	if c.SMPPTLSCert != "" {
		var err error
		if g.smpp.TLS, err = g.tlsOf("smpp", c.SMPPTLSCert, c.SMPPTLSKey); err != nil {
			return err
		}
	}
	if c.SMPPPort != 0 {
		l, err := listen(c.SMPPHost, c.SMPPPort)
		if err != nil {
			return err
		}
		g.serve("SMPP", func() error { return g.smpp.Serve(l) })
	}
	if c.SMPPTLSPort != 0 && g.smpp.TLS == nil {
		g.Log.Info("no SMPP over TLS: SMPP_TLS_CERT is not set", "port", c.SMPPTLSPort)
	}
	if c.SMPPTLSPort != 0 && g.smpp.TLS != nil {
		l, err := listen(c.SMPPHost, c.SMPPTLSPort)
		if err != nil {
			return err
		}
		g.serve("SMPP over TLS", func() error { return g.smpp.ServeTLS(l) })
	}
	return nil
}

// tlsOf is TLS with the certificate of two PEM files, which are read again when they
// change; what is wrong with them then is logged as the part's.
func (g *Gateway) tlsOf(part, cert, key string) (*tls.Config, error) {
	files, err := smpp.NewCertificateFiles(cert, key)
	if err != nil {
		return nil, err
	}
	files.Log = g.Log.With("part", part)
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: files.GetCertificate}, nil
}

func (g *Gateway) smppMetrics() smpp.Metrics {
	m := g.metrics
	return smpp.Metrics{
		Connections: func(delta int) { m.ServerConnections.Add(float64(delta)) },
		Held:        g.held.set,
		Binds: func(_ string, delta int) {
			m.ServerSessions.Add(float64(delta))
			if delta > 0 {
				m.ServerBinds.WithLabelValues("success").Inc()
			}
		},
		BindRefused: func(message.Reason) { m.ServerBinds.WithLabelValues("failure").Inc() },
		Request: func(command, status string, took time.Duration) {
			m.ServerRequests.WithLabelValues(command, status).Observe(took.Seconds())
		},
		Throttled: func(account message.ID, scope string, n int) { g.rateRefused(account, message.EdgeSMPP, scope, n) },
		Delivered: func(kind message.DeliveryKind, state message.NotificationState) {
			m.ServerDeliver.WithLabelValues(string(kind), string(state)).Inc()
		},
		ConnectionRefused: func(cause string) { m.ServerRefused.WithLabelValues(cause).Inc() },
		AuditDropped:      func(lines int) { m.AuditDropped.Add(float64(lines)) },
	}
}
