package main

import (
	"context"
	"math/rand/v2"
	"net/http"
	"time"
)

// customerEvents are what customers do: their endpoints and their ESMEs.
func customerEvents() []Event {
	event := func(name, promise string, short bool, weight int, run act) Event {
		return Event{Name: name, Promise: promise, Short: short, Weight: weight, alone: []string{peerCustomer}, Run: run}
	}
	return []Event{
		event("the customer's endpoint answers 503 for 4 s", promiseWebhook, true, 4, lasting(exactly(4*time.Second), refuseWebhooks, takeWebhooks)),
		event("the customer's endpoint answers 503 for 10 min", promiseWebhook, false, 0, lasting(exactly(10*time.Minute), refuseWebhooks, takeWebhooks)),
		event("the customer's endpoint does not answer for 20 s", promiseWebhook, false, 2, lasting(exactly(20*time.Second),
			func(_ context.Context, w *World, _ *rand.Rand) error { w.Customer.Hang(); return nil }, takeWebhooks)),
		event("ESMEs unbind mid-window", promiseESME, true, 4, func(ctx context.Context, w *World, _ *rand.Rand) error {
			return w.Customer.UnbindMidWindow(ctx)
		}),
		event("ESMEs die mid-window", promiseESME, true, 4, func(ctx context.Context, w *World, _ *rand.Rand) error {
			return w.Customer.DieMidWindow(ctx)
		}),
	}
}

func refuseWebhooks(_ context.Context, w *World, _ *rand.Rand) error {
	w.Customer.Refuse(http.StatusServiceUnavailable)
	return nil
}

func takeWebhooks(_ context.Context, w *World, _ *rand.Rand) error {
	w.Customer.Accept()
	return nil
}
