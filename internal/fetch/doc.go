// Package fetch gets a file from a URL that somebody else named: a customer who sends a
// picture by its address, or a vendor who tells where one that came in lies. Such a
// URL may point anywhere, also into the network that the gateway runs in, and what
// answers may send anything, for ever.
//
// A Fetcher makes one try: a GET, at most three redirects, and a body that ends at a
// bound. It keeps nothing and tries nothing again; an Error says whether that has a
// point.
//
// The rule not to break: whatever a redirect names is judged like the first URL, and
// credentials go to the hosts that they were given for and to no other. The address
// itself is judged when it is dialled, by the policy of package webhook.
package fetch
