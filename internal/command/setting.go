package command

import "github.com/syncsh/syncsh/internal/codec"

// SettingInfo is one replicated setting. The result of a Settings query has one
// value, an array of [name, value, default, least, most].
type SettingInfo struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Default float64 `json:"default"`
	Least   float64 `json:"least"`
	Most    float64 `json:"most"`
}

// AppendSettingInfos appends the settings as one value.
func AppendSettingInfos(b []byte, infos []SettingInfo) []byte {
	b = codec.AppendArrayLen(b, len(infos))
	for _, s := range infos {
		b = codec.AppendArrayLen(b, 5)
		b = codec.AppendString(b, s.Name)
		for _, v := range []float64{s.Value, s.Default, s.Least, s.Most} {
			b = codec.AppendNumber(b, v)
		}
	}
	return b
}

// DecodeSettingInfos reads what AppendSettingInfos wrote.
func DecodeSettingInfos(d *codec.Decoder) ([]SettingInfo, error) { return list(d, decodeSettingInfo) }

func decodeSettingInfo(d *codec.Decoder) (s SettingInfo, err error) {
	if err = d.FixedArray(5); err != nil {
		return s, err
	}
	if s.Name, err = d.String(); err != nil {
		return s, err
	}
	for _, v := range []*float64{&s.Value, &s.Default, &s.Least, &s.Most} {
		if *v, err = d.Number(); err != nil {
			return s, err
		}
	}
	return s, nil
}
