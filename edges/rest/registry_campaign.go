package rest

import (
	"context"
	"fmt"

	"github.com/postrider/postrider/internal/message"
	"github.com/postrider/postrider/internal/pace"
	"github.com/postrider/postrider/internal/registry"
)

func (s *Server) createCampaign(ctx context.Context, in *rawInput) (*registered, error) {
	x := exchangeOf(ctx)
	c := &registry.Campaign{SubscriberOptIn: true, SubscriberOptOut: true, SubscriberHelp: true, AutoRenewal: true}
	asks := false
	return s.create(ctx, in.RawBody, create{operation: campaignOperation, path: "/v1/campaigns/",
		make: func(text []byte) (message.ID, any, *message.Error, int) {
			body, status, refusal := decodeCampaign(text)
			if refusal != nil {
				return message.ID{}, nil, refusal, status
			}
			c.AccountID = x.caller.account.ID
			body.apply(c)
			asks = body.asks() == registry.AskFor
			if err := s.Registry.PrepareCampaign(c, asks); err != nil {
				return message.ID{}, nil, message.AsError(err), 0
			}
			return c.ID, campaignOf(c), nil, 0
		},
		store: func(ctx context.Context, key *message.Idempotency) error {
			return s.Registry.CreateCampaign(ctx, customerActor(x), c, asks, key)
		}})
}

// ownCampaign reads a campaign of the caller's account.
func (s *Server) ownCampaign(ctx context.Context, x *exchange, given string) (*registry.Campaign, error) {
	id, err := pathID("campaign", given)
	if err != nil {
		return nil, err
	}
	return s.Registry.Campaign(ctx, x.caller.account.ID, id)
}

func (s *Server) getCampaign(ctx context.Context, in *idInput) (*entity[campaignResource], error) {
	ctx, cancel, x, err := s.begin(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	c, err := s.ownCampaign(ctx, x, in.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &entity[campaignResource]{ETag: etag(c.Revision), Body: campaignOf(c)}, nil
}

func (s *Server) getCampaignStatus(ctx context.Context, in *idInput) (*output[campaignStatusResource], error) {
	ctx, cancel, x, err := s.begin(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	c, err := s.ownCampaign(ctx, x, in.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	out := &output[campaignStatusResource]{Body: campaignStatusOf(c)}
	most, key := c.DailyCap, pace.CampaignDay(c.ID)
	if c.Brand != (message.ID{}) {
		b, err := s.Registry.Brand(ctx, x.caller.account.ID, c.Brand)
		if err != nil {
			return nil, s.problem(x, err, 0)
		}
		out.Body.BrandStatus = optional(string(b.Status))
		out.Body.DailyCap = capOf(b.DailyCap, c.DailyCap)
		if b.DailyCap > 0 && (most <= 0 || b.DailyCap <= most) {
			most, key = b.DailyCap, pace.BrandDay(b.CapKey)
		}
	}
	if out.Body.UsedToday, out.Body.ResetsAt, err = s.capUsed(ctx, most, key); err != nil {
		return nil, s.problem(x, err, 0)
	}
	return out, nil
}

func (s *Server) listCampaigns(ctx context.Context, in *pageInput) (*output[list[campaignResource]], error) {
	ctx, cancel, x, err := s.begin(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	before, err := decodeIDCursor(campaignCursor, in.Cursor)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	campaigns, err := s.Registry.Campaigns(ctx, x.caller.account.ID, before, in.size()+1)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	out := &output[list[campaignResource]]{Body: list[campaignResource]{Data: []campaignResource{}}}
	if len(campaigns) > in.size() {
		campaigns = campaigns[:in.size()]
		out.Body.NextCursor = encodeIDCursor(campaignCursor, campaigns[len(campaigns)-1].ID)
	}
	for _, c := range campaigns {
		out.Body.Data = append(out.Body.Data, campaignOf(c))
	}
	return out, nil
}

func (s *Server) changeCampaign(ctx context.Context, in *patchInput) (*entity[campaignResource], error) {
	ctx, cancel, x, err := s.begin(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	id, err := pathID("campaign", in.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	body, status, refusal := decodeCampaign(in.RawBody)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	revision, err := seen(in.IfMatch)
	if err != nil {
		return nil, s.changed(x, err, in.IfMatch)
	}
	c, err := s.Registry.ChangeCampaign(ctx, customerActor(x), x.caller.account.ID, id, revision, body.asks(), body.apply)
	if err != nil {
		return nil, s.changed(x, err, in.IfMatch)
	}
	return &entity[campaignResource]{ETag: etag(c.Revision), Body: campaignOf(c)}, nil
}

// numbersBody is the body of PUT /v1/campaigns/{id}/numbers.
type numbersBody struct {
	Numbers []string `json:"numbers" minItems:"1" maxItems:"400" doc:"US long codes of the account" example:"[\"+12025550143\"]"`
}

// maxAssigned is how many numbers one request may name.
const maxAssigned = 400

type numbersInput struct {
	ID      string `path:"id" doc:"The campaign's id here" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
	RawBody []byte
}

func (s *Server) assignNumbers(ctx context.Context, in *numbersInput) (*entity[campaignResource], error) {
	ctx, cancel, x, err := s.begin(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	id, err := pathID("campaign", in.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	numbers, status, refusal := decodeNumbers(in.RawBody)
	if refusal != nil {
		return nil, s.problem(x, refusal, status)
	}
	account := x.caller.account.ID
	if err := s.Registry.AssignNumbers(ctx, customerActor(x), account, id, numbers); err != nil {
		return nil, s.problem(x, err, 0)
	}
	c, err := s.Registry.Campaign(ctx, account, id)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	return &entity[campaignResource]{ETag: etag(c.Revision), Body: campaignOf(c)}, nil
}

// decodeNumbers reads the numbers, each once.
func decodeNumbers(text []byte) ([]message.Address, int, *message.Error) {
	var given *[]string
	d, err := decodeObject(text, func(d *decoder, name, location string) (bool, error) {
		if name != "numbers" {
			return false, nil
		}
		return true, d.texts(location, &given, maxAssigned)
	})
	if err != nil {
		return nil, 400, unreadable(err)
	}
	var numbers []message.Address
	if given == nil || len(*given) == 0 {
		if !d.faulty("body.numbers") && !d.faulty("body") {
			d.invalid("body.numbers", "is required: one number or more")
		}
		return nil, 0, d.refusal()
	}
	known := map[message.Address]bool{}
	for i, s := range *given {
		a, err := message.ParseRecipient(s)
		if err != nil {
			d.invalid(fmt.Sprintf("body.numbers[%d]", i), "must be a number with its country code, such as +12025550143")
			continue
		}
		if !known[a] {
			known[a] = true
			numbers = append(numbers, a)
		}
	}
	return numbers, 0, d.refusal()
}

type numberInput struct {
	ID     string `path:"id" doc:"The campaign's id here" example:"01a1ffbf-8676-7d35-9c44-0f6f2f1b7e21"`
	Number string `path:"number" maxLength:"32" doc:"The number; its + is written as %2B or left off" example:"12025550143"`
}

func (s *Server) releaseNumber(ctx context.Context, in *numberInput) (*struct{}, error) {
	ctx, cancel, x, err := s.begin(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	id, err := pathID("campaign", in.ID)
	if err != nil {
		return nil, s.problem(x, err, 0)
	}
	number, err := message.ParseWire(in.Number)
	if err != nil {
		return nil, s.problem(x, message.Refuse(message.ReasonNotFound, "the campaign has no such number"), 0)
	}
	if err := s.Registry.ReleaseNumber(ctx, customerActor(x), x.caller.account.ID, id, number); err != nil {
		return nil, s.problem(x, err, 0)
	}
	return nil, nil
}
