// Package pages holds the tests of Postrider's web pages: what somebody does in a browser, on
// the gateway as it is built with everything around it. All tests share one gateway with the
// data of the demo, and one browser. What they need of the pages is in package browser.
package pages
