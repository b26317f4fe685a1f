package registry

import "slices"

// useCase is a row of the registry's list (reference: compliance.md §2).
type useCase struct {
	name    string
	special bool // a carrier approves it, or the brand is vetted for it
	sub     bool // may be part of MIXED
	samples int  // messages it must show
}

var useCases = []useCase{
	{"2FA", false, true, 1},
	{"ACCOUNT_NOTIFICATION", false, true, 1},
	{"CUSTOMER_CARE", false, true, 1},
	{"DELIVERY_NOTIFICATION", false, true, 1},
	{"FRAUD_ALERT", false, true, 1},
	{"HIGHER_EDUCATION", false, true, 1},
	{"LOW_VOLUME", false, false, 2},
	{"M2M", false, false, 1},
	{"MARKETING", false, true, 2},
	{"MIXED", false, false, 2},
	{"POLLING_VOTING", false, true, 1},
	{"PUBLIC_SERVICE_ANNOUNCEMENT", false, true, 1},
	{"SECURITY_ALERT", false, true, 1},

	{"AGENTS_FRANCHISES", true, false, 1},
	{"CARRIER_EXEMPT", true, false, 1},
	{"CHARITY", true, false, 1},
	{"EMERGENCY", true, false, 1},
	{"K12_EDUCATION", true, false, 1},
	{"POLITICAL", true, false, 1},
	{"POLITICAL_SECTION_527", true, false, 1},
	{"PROXY", true, false, 1},
	{"SOCIAL", true, false, 1},
	{SoleProprietor, true, false, 2},
	{"SWEEPSTAKE", true, false, 1},
	{"TRIAL", true, false, 1},
	{"UCAAS_HIGH", true, false, 1},
	{"UCAAS_LOW", true, false, 1},
}

// How many use cases a campaign of mixed ones has.
const (
	minSubUseCases = 2
	maxSubUseCases = 5
)

func useCaseOf(name string) (useCase, bool) {
	i := slices.IndexFunc(useCases, func(u useCase) bool { return u.name == name })
	if i < 0 {
		return useCase{}, false
	}
	return useCases[i], true
}

// Samples is how many messages a campaign of the use case must show, 0 for one that there
// is not. Special says that carriers approve each campaign of it, or the brand is vetted
// for it.
func Samples(name string) (n int, special bool) {
	u, _ := useCaseOf(name)
	return u.samples, u.special
}

// UseCases lists the names of the use cases that a campaign may have.
func UseCases() []string {
	names := make([]string, len(useCases))
	for i, u := range useCases {
		names[i] = u.name
	}
	return names
}

// SubUseCases lists those that may be part of a mixed campaign.
func SubUseCases() []string {
	var names []string
	for _, u := range useCases {
		if u.sub {
			names = append(names, u.name)
		}
	}
	return names
}

// Numbers a campaign may have (reference: compliance.md §3, the stricter of the two
// figures in use).
const (
	maxNumbers     = 49
	maxNumbersSole = 1
)

// MaxNumbers is how many numbers the campaign may have; 0: any.
func (c *Campaign) MaxNumbers() int {
	switch {
	case c.UseCase == SoleProprietor:
		return maxNumbersSole
	case c.NumberPool:
		return 0
	}
	return maxNumbers
}
