package message

import "time"

// UsageBy says by what a report of usage is divided beside the direction.
type UsageBy struct{ Day, Number, Campaign, Status, Kind bool }

// UsageRow is what an account has sent or received, of one kind of a report.
type UsageRow struct {
	Day        time.Time // midnight in UTC; zero: of all days
	Direction  Direction
	Kind       Kind    // empty: of either
	Number     Address // the account's; empty: of all
	CampaignID string  // empty: of all, and of none
	Status     Status  // empty: of each
	Messages   int64
	Parts      int64
	Cost       Micros // of the prices that are final
	Currency   string // empty: nothing had a price
}
