package command

import "github.com/syncsh/syncsh/internal/codec"

// Upgrade raises the version of the machine: [8, version]. A leader proposes it
// once every member's build runs that version, as one that doesn't has to stop.
// DecodeHead doesn't read it, so what clients send can't be one.
const Upgrade Kind = 8

// AppendUpgrade appends an upgrade.
func AppendUpgrade(b []byte, version int) []byte {
	b = codec.AppendArrayLen(b, 2)
	b = codec.AppendUint(b, uint64(Upgrade))
	return codec.AppendUint(b, uint64(version))
}

// DecodeUpgrade returns the version of an upgrade; ok says whether cmd is one.
func DecodeUpgrade(cmd []byte) (version int, ok bool) {
	d := codec.NewDecoder(cmd)
	if d.FixedArray(2) != nil {
		return 0, false
	}
	k, err := d.Uint()
	if err != nil || k != uint64(Upgrade) {
		return 0, false
	}
	v, err := d.Uint()
	return int(v), err == nil && v > 0 && v < 1<<31 && d.End() == nil
}
