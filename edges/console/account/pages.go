package account

import "github.com/postrider/postrider/edges/console/page"

// accessPages are the pages of webhooks, of who and what may use the account, and of the
// account itself.
func accessPages() map[string]show {
	return map[string]show{
		"GET /limits":         (*visit).limits,
		"POST /limits/set":    (*visit).setLimit,
		"POST /limits/remove": (*visit).removeLimit,
	}
}

func webhookLinks(Place) []page.Link { return nil }

func accessLinks(Place) []page.Link { return nil }

func settingsLinks(p Place) []page.Link {
	return p.links(link{"Limits", "/limits", "usage:read"})
}
