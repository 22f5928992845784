package command

import (
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
)

func TestUpgrade(t *testing.T) {
	b := AppendUpgrade(nil, 300)
	if v, ok := DecodeUpgrade(b); v != 300 || !ok {
		t.Errorf("%d %v", v, ok)
	}
	d := codec.NewDecoder(b)
	if h, err := DecodeHead(&d); err == nil {
		t.Errorf("a client could propose it: %+v", h)
	}
	for i := range b {
		if _, ok := DecodeUpgrade(b[:i]); ok {
			t.Errorf("cut at %d", i)
		}
	}
	for _, b := range [][]byte{{0x92, 8, 0}, {0x92, 7, 1}, {0x92, 8, 1, 1}, {0x93, 8, 1, 1}, {0x92, 8, 0xcf, 255, 255, 255, 255, 255, 255, 255, 255}} {
		if v, ok := DecodeUpgrade(b); ok {
			t.Errorf("% x: %d", b, v)
		}
	}
}
