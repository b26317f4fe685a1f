package main

import (
	"context"
	"fmt"
	"os"

	vendorsmpp "github.com/postrider/postrider/edges/vendors/smpp"
	"github.com/postrider/postrider/internal/snapshot"
)

// vendorProfiles are the sets of settings that are shipped, by name.
func vendorProfiles() map[string]snapshot.Vendor {
	profiles := map[string]snapshot.Vendor{}
	for _, p := range vendorsmpp.Profiles() {
		profiles[p.Name] = p.Vendor
	}
	return profiles
}

// testVendor is the same without a process of the gateway: in a shell.
func testVendor(ctx context.Context, v *snapshot.Vendor) (string, error) {
	g := &Gateway{Config: Config{MM4Domain: os.Getenv("MM4_DOMAIN"), MM4Hostname: os.Getenv("MM4_HOSTNAME")}}
	return g.testVendor(ctx, v)
}

// testVendor connects to a vendor over a connection of its own. One whose webhooks cannot
// be checked fails the test: it would take messages, and none of its receipts would count.
func (g *Gateway) testVendor(ctx context.Context, v *snapshot.Vendor) (string, error) {
	// What makes links is not asked here, and needs nothing that a process of the gateway has.
	kind := g.vendorKinds()[v.ProviderType]
	if kind.Test == nil {
		return "", fmt.Errorf("there is no test for vendors of the kind %s", v.ProviderType)
	}
	detail, err := kind.Test(ctx, v)
	if err != nil || kind.Hook == nil {
		return detail, err
	}
	if _, err := kind.Hook(v); err != nil {
		return "", fmt.Errorf("%s, but its receipts and inbound messages cannot be taken: %w", detail, err)
	}
	return detail, nil
}
