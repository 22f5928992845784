package wire

import (
	"fmt"
	"math"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/raft"
)

// appendChunk appends [index, term, bytes, sum, configuration, offset, length,
// data]. The caller has filled in Data.
func appendChunk(b []byte, c *raft.SnapshotChunk) []byte {
	b = codec.AppendArrayLen(b, 8)
	b = codec.AppendUint(b, uint64(c.Meta.Index))
	b = codec.AppendUint(b, uint64(c.Meta.Term))
	b = codec.AppendUint(b, c.Meta.Bytes)
	b = codec.AppendBytes(b, c.Meta.Sum[:])
	b = appendConfiguration(b, c.Meta.Config)
	b = codec.AppendUint(b, c.Offset)
	b = codec.AppendUint(b, uint64(c.Length))
	return codec.AppendBytes(b, c.Data)
}

func decodeChunk(d *codec.Decoder) (*raft.SnapshotChunk, error) {
	if err := d.FixedArray(8); err != nil {
		return nil, err
	}
	index, err := d.Uint()
	if err != nil {
		return nil, err
	}
	term, err := d.Uint()
	if err != nil {
		return nil, err
	}
	c := &raft.SnapshotChunk{Meta: raft.SnapshotMeta{Index: raft.Index(index), Term: raft.Term(term)}}
	if c.Meta.Bytes, err = d.Uint(); err != nil {
		return nil, err
	}
	if c.Meta.Sum, err = decodeSum(d); err != nil {
		return nil, err
	}
	if c.Meta.Config, err = decodeConfiguration(d); err != nil {
		return nil, err
	}
	if c.Offset, err = d.Uint(); err != nil {
		return nil, err
	}
	length, err := d.Uint()
	if err != nil {
		return nil, err
	}
	if c.Offset > c.Meta.Bytes || length > c.Meta.Bytes-c.Offset || length > math.MaxUint32 {
		return nil, fmt.Errorf("snapshot chunk of %d bytes at %d of %d: %w", length, c.Offset, c.Meta.Bytes, codec.ErrRange)
	}
	c.Length = uint32(length)
	if d.Peek() != codec.KindBytes {
		return nil, fmt.Errorf("snapshot chunk is not a binary: %w", codec.ErrType)
	}
	if c.Data, err = d.Bytes(); err != nil {
		return nil, err
	}
	if len(c.Data) != 0 && len(c.Data) != int(length) {
		return nil, fmt.Errorf("snapshot chunk of length %d with %d bytes: %w", length, len(c.Data), codec.ErrRange)
	}
	return c, nil
}

// appendConfiguration appends [[[id, role, name, addr]...], [outgoing id...],
// [removed id...]].
func appendConfiguration(b []byte, c raft.Configuration) []byte {
	b = codec.AppendArrayLen(b, 3)
	b = codec.AppendArrayLen(b, len(c.Members))
	for _, m := range c.Members {
		b = codec.AppendArrayLen(b, 4)
		b = appendMemberFields(b, m)
	}
	return appendIDs(appendIDs(b, c.Outgoing), c.Removed)
}

func decodeConfiguration(d *codec.Decoder) (c raft.Configuration, err error) {
	if err = d.FixedArray(3); err != nil {
		return c, err
	}
	n, err := d.ArrayLen()
	if err != nil {
		return c, err
	}
	last := raft.ID(0)
	for range n {
		if err = d.FixedArray(4); err != nil {
			return c, err
		}
		m, err := decodeMemberFields(d)
		if err != nil {
			return c, err
		}
		if m.ID <= last {
			return c, fmt.Errorf("configuration: member %x is not in order: %w", uint64(m.ID), codec.ErrRange)
		}
		last = m.ID
		c.Members = append(c.Members, m)
	}
	if c.Outgoing, err = decodeIDs(d); err != nil {
		return c, err
	}
	c.Removed, err = decodeIDs(d)
	return c, err
}

func appendMemberFields(b []byte, m raft.Member) []byte {
	b = codec.AppendUint(b, uint64(m.ID))
	b = codec.AppendUint(b, uint64(m.Role))
	b = codec.AppendString(b, m.Name)
	return codec.AppendString(b, m.Addr)
}

func decodeMemberFields(d *codec.Decoder) (m raft.Member, err error) {
	id, err := d.Uint()
	if err != nil {
		return m, err
	}
	if id == 0 {
		return m, fmt.Errorf("member without an id: %w", codec.ErrRange)
	}
	role, err := d.Uint()
	if err != nil {
		return m, err
	}
	if role < uint64(raft.Voter) || role > uint64(raft.Observer) {
		return m, fmt.Errorf("member of role %d: %w", role, codec.ErrRange)
	}
	m.ID, m.Role = raft.ID(id), raft.Role(role)
	if m.Name, err = shortString(d); err != nil {
		return m, err
	}
	m.Addr, err = shortString(d)
	return m, err
}

func appendIDs(b []byte, ids []raft.ID) []byte {
	b = codec.AppendArrayLen(b, len(ids))
	for _, id := range ids {
		b = codec.AppendUint(b, uint64(id))
	}
	return b
}

func decodeIDs(d *codec.Decoder) ([]raft.ID, error) {
	n, err := d.ArrayLen()
	if err != nil {
		return nil, err
	}
	var out []raft.ID
	for range n {
		id, err := d.Uint()
		if err != nil {
			return nil, err
		}
		if id == 0 {
			return nil, fmt.Errorf("id 0 in a configuration: %w", codec.ErrRange)
		}
		out = append(out, raft.ID(id))
	}
	return out, nil
}
