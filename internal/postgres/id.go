package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/postrider/postrider/internal/message"
)

// registerIDs lets a connection read and write message.ID as the 16 octets it is.
// Left to itself pgx takes it for what database/sql knows and writes each id as
// text first, which is a third of what reading many rows costs.
func registerIDs(_ context.Context, conn *pgx.Conn) error {
	m := conn.TypeMap()
	id := &pgtype.Type{Name: "uuid", OID: pgtype.UUIDOID, Codec: idCodec{}}
	m.RegisterType(id)
	m.RegisterType(&pgtype.Type{Name: "_uuid", OID: pgtype.UUIDArrayOID, Codec: &pgtype.ArrayCodec{ElementType: id}})
	return nil
}

type idCodec struct{ pgtype.UUIDCodec }

func (c idCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.(message.ID); ok && format == pgtype.BinaryFormatCode {
		return encodeID{}
	}
	return c.UUIDCodec.PlanEncode(m, oid, format, value)
}

func (c idCodec) PlanScan(m *pgtype.Map, oid uint32, format int16, target any) pgtype.ScanPlan {
	if _, ok := target.(*message.ID); ok && format == pgtype.BinaryFormatCode {
		return scanID{}
	}
	return c.UUIDCodec.PlanScan(m, oid, format, target)
}

type encodeID struct{}

func (encodeID) Encode(value any, buf []byte) ([]byte, error) {
	id := value.(message.ID)
	return append(buf, id[:]...), nil
}

type scanID struct{}

// Scan reads null as the zero ID.
func (scanID) Scan(src []byte, dst any) error {
	id := dst.(*message.ID)
	if src == nil {
		*id = message.ID{}
		return nil
	}
	if len(src) != len(id) {
		return fmt.Errorf("an id of %d octets", len(src))
	}
	copy(id[:], src)
	return nil
}
