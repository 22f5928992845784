package luafsm

import "github.com/syncsh/syncsh/internal/command"

// infos describes the settings in force.
func (l *limits) infos() []command.SettingInfo {
	out := make([]command.SettingInfo, 0, len(settings))
	for _, s := range settings {
		out = append(out, command.SettingInfo{
			Name: s.name, Value: float64(*s.field(l)), Default: float64(s.def), Least: float64(s.min), Most: float64(s.max),
		})
	}
	return out
}
