// Package registry is 10DLC registration: the words for brands and campaigns as
// the campaign registry wants them described, the rules that their fields keep, the
// figures that carriers derive from them, a client of the registry, and the
// Registrar that files drafts and keeps their statuses in step.
//
// A filing costs money and cannot be taken back, so the rule not to break is: a
// request is journalled before it is on the wire, under a reference that does not
// change, and one whose answer is not known is looked up by that reference before
// it is sent again. The registry refuses a second brand or campaign of one
// reference, which covers a request that is still on its way during the look-up.
//
// What the registry calls brandId and campaignId are BrandID and CampaignID here;
// ID is always the id of our own row.
package registry
