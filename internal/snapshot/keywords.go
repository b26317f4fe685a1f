package snapshot

// Keywords are words that an account has added to those that everybody's recipients
// may write. They count as whole messages only, whatever their case, accents and
// punctuation.
type Keywords struct {
	Stop  []string `json:"stop,omitempty"`
	Start []string `json:"start,omitempty"`
	Help  []string `json:"help,omitempty"`
}

// The bounds of Keywords.
const (
	MaxKeywords      = 50 // in each of the lists
	MaxKeywordLength = 40 // characters
)

// VendorReplies says whether a vendor answers STOP, START and HELP itself.
type VendorReplies string

// The values. By default the gateway answers, but for what the network of toll-free
// numbers answers: STOP and START.
const (
	RepliesDefault VendorReplies = ""
	RepliesVendor  VendorReplies = "vendor"  // the vendor answers all; the gateway never
	RepliesGateway VendorReplies = "gateway" // the gateway answers all, for toll-free numbers too
)
