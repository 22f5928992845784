package client

import (
	"context"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

// SettingInfo is a replicated setting with its default and its bounds.
type SettingInfo = command.SettingInfo

// Settings lists the replicated settings, sorted by name.
func (c *Client) Settings(ctx context.Context) ([]SettingInfo, error) {
	res, err := c.Exec(ctx, wire.OpQuery, c.cfg.Mode, command.AppendSettings(nil))
	if err != nil {
		return nil, err
	}
	d := codec.NewDecoder(res.Values)
	if err = d.FixedArray(1); err == nil {
		var out []SettingInfo
		if out, err = command.DecodeSettingInfos(&d); err == nil {
			return out, nil
		}
	}
	return nil, badArgument("the node's answer can't be read: %v", err)
}
