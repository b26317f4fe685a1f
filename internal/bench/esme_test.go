package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/postrider/postrider/internal/smpp"
)

// A gateway that answers two submits with one id, and has forgotten another one
// by the time it is asked: the ESME tells.
func TestESMELooksForWhatWasAnswered(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	var mu sync.Mutex
	submits := 0
	var gateway sync.WaitGroup
	gateway.Go(func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		s := smpp.NewServerSession(conn, smpp.ServerConfig{
			Config: smpp.Config{Handler: smpp.HandlerFunc(func(r *smpp.Request) {
				mu.Lock()
				defer mu.Unlock()
				switch b := r.Body.(type) {
				case *smpp.SubmitSM:
					submits++
					_ = r.Respond(smpp.StatusOK, &smpp.SubmitSMResp{MessageID: fmt.Sprintf("id-%d", max(submits, 2))})
				case *smpp.QuerySM:
					if b.MessageID == "id-7" {
						_ = r.Respond(smpp.StatusQueryFail, nil)
						return
					}
					_ = r.Respond(smpp.StatusOK, &smpp.QuerySMResp{MessageID: b.MessageID, State: 2})
				}
			})},
			SystemID: "gw", Bind: func(context.Context, *smpp.Session, *smpp.Bind) smpp.Decision { return smpp.Decision{} },
		})
		s.Wait()
	})
	r := newRecords(20, "test")
	e, err := bindESME(t.Context(), &target{env: map[string]string{"POSTRIDER_FROM": "+12025550143", "POSTRIDER_SMPP_ADDR": ln.Addr().String(), "POSTRIDER_SMPP_SYSTEM_ID": "demo"}}, r, 5)
	if err != nil {
		t.Fatal(err)
	}
	l := load{numbers: numbers{}, records: r}
	if errs := l.closed(t.Context(), span{records: r, first: 0, last: 20}, e.posters(5)); len(errs) > 0 {
		t.Errorf("errors %v", errs)
	}
	k := e.look(t.Context(), 5)
	if *k != (kept{Window: 5, Answers: 20, Distinct: 19, Found: 18}) || k.whole() {
		t.Errorf("%+v", *k)
	}
	e.session.Close()
	gateway.Wait()
}
