package message

import "github.com/google/uuid"

// VendorHealth says how well a vendor does its work, as seen over all processes.
type VendorHealth string

// The healths. One that nobody has looked at yet counts as healthy.
const (
	HealthUnknown  VendorHealth = "unknown"
	HealthHealthy  VendorHealth = "healthy"
	HealthDegraded VendorHealth = "degraded" // asked after those that are healthy
	HealthDown     VendorHealth = "down"     // asked last
)

// InternalVendor is the vendor that stands for the gateway itself: messages between
// its own numbers go over it. Its row is there from the beginning.
var InternalVendor ID = uuid.MustParse("00000000-0000-7000-8000-000000000001")

// ProviderInternal is the provider_type of InternalVendor.
const ProviderInternal = "internal"
