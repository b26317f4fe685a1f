package main

import (
	"context"
	"fmt"

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

// testVendor connects to a vendor over a connection of its own.
func testVendor(ctx context.Context, v *snapshot.Vendor) (string, error) {
	// What makes links is not asked here, and needs nothing that a process of the gateway has.
	test := new(Gateway).vendorKinds()[v.ProviderType].Test
	if test == nil {
		return "", fmt.Errorf("there is no test for vendors of the kind %s", v.ProviderType)
	}
	return test(ctx, v)
}
