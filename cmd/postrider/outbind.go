package main

import (
	"errors"

	vendorsmpp "github.com/postrider/postrider/edges/vendors/smpp"
	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/snapshot"
)

// startOutbind listens for vendors that call us.
func (g *Gateway) startOutbind() error {
	c := g.Config
	if c.SMPPOutbindPort == 0 || !g.Roles["vendors"] {
		return nil
	}
	door := &vendorsmpp.Door{Vendors: g.vendors, Log: g.Log.With("part", "vendor"), Link: func(vendor message.ID) vendorsmpp.Adopter {
		link, _ := g.fleet.Link(vendor).(vendorsmpp.Adopter)
		if link == nil {
			return nil
		}
		return link
	}}
	if c.SMPPOutbindTLS {
		if c.SMPPTLSCert == "" {
			return errors.New("SMPP_OUTBIND_TLS: SMPP_TLS_CERT is not set")
		}
		var err error
		if door.TLS, err = g.tlsOf("vendor", c.SMPPTLSCert, c.SMPPTLSKey); err != nil {
			return err
		}
	}
	l, err := listen(c.SMPPHost, c.SMPPOutbindPort)
	if err != nil {
		return err
	}
	g.outbind = door
	g.serve("outbinds of vendors", func() error { return door.Serve(l) })
	return nil
}

// vendors are the vendors as they are now.
func (g *Gateway) vendors() []*snapshot.Vendor {
	s := g.config.Current()
	list := make([]*snapshot.Vendor, 0, len(s.Vendors))
	for _, v := range s.Vendors {
		list = append(list, v)
	}
	return list
}
