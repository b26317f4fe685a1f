package rest

import (
	"context"
	"fmt"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/message"
)

// codeResource is one row of the error catalogue.
type codeResource struct {
	_              struct{}     `json:"-" additionalProperties:"true"`
	Code           string       `json:"code" example:"campaign_inactive"`
	Class          string       `json:"class" enum:"permanent,retry,fix_registration"`
	Title          string       `json:"title"`
	Help           string       `json:"help" doc:"What it means and what would fix it"`
	Docs           string       `json:"docs" doc:"Path of the page about it"`
	HTTPStatus     *int         `json:"http_status" doc:"null: never the answer to a request"`
	SMPPStatus     *string      `json:"smpp_status" doc:"command_status of a refused submit_sm; null: never one" example:"0x00000045"`
	SMPPBindStatus *string      `json:"smpp_bind_status" doc:"command_status of a refused bind; null: never one"`
	MM4            *string      `json:"mm4" doc:"X-Mms-Request-Status-Code without its Error- prefix, or the SMTP code"`
	Receipt        *codeReceipt `json:"receipt" doc:"What the receipt says when this ends a message; null: it never does"`
}

type codeReceipt struct {
	_    struct{} `json:"-" additionalProperties:"true"`
	Stat string   `json:"stat"`
	Err  string   `json:"err"`
}

// TransformSchema says which members may be null instead of an object.
func (codeResource) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	return orNull(s, "receipt")
}

func (s *Server) listErrors(context.Context, *struct{}) (*output[list[codeResource]], error) {
	out := &output[list[codeResource]]{}
	for _, e := range message.Catalogue() {
		out.Body.Data = append(out.Body.Data, codeOf(e))
	}
	return out, nil
}

func codeOf(e message.Entry) codeResource {
	r := codeResource{
		Code: string(e.Reason), Class: string(e.Class), Title: e.Title, Help: e.Help,
		Docs: "/docs/errors/" + string(e.Reason), MM4: optional(e.MM4),
	}
	if e.HTTP != 0 {
		r.HTTPStatus = &e.HTTP
	}
	if e.SMPP != 0 {
		r.SMPPStatus = optional(fmt.Sprintf("0x%08X", e.SMPP))
	}
	if e.SMPPBind != 0 {
		r.SMPPBindStatus = optional(fmt.Sprintf("0x%08X", e.SMPPBind))
	}
	if e.ReceiptStat != "" {
		r.Receipt = &codeReceipt{Stat: e.ReceiptStat, Err: e.ReceiptErr}
	}
	return r
}
