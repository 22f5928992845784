package lib

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

// texts are arguments of Format that are strings.
type texts []string

func (a texts) String(i int) (string, error) {
	if i > len(a) {
		return "", errors.New("no value")
	}
	return a[i-1], nil
}

func (a texts) Number(i int) (float64, error) {
	s, err := a.String(i)
	f, ok := ParseNumber(s)
	if err == nil && !ok {
		err = errors.New("number expected")
	}
	return f, err
}

func TestFormat(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		format string
		args   Args
		want   string
	}{
		{"plain", nil, "plain"}, {"", nil, ""}, {"100%%", nil, "100%"}, {"%d%%", numbers{5}, "5%"},
		{"%d", numbers{3.99}, "3"}, {"%d", numbers{-3.99}, "-3"}, {"%i", numbers{7}, "7"}, {"%5d|%-5d|%05d", numbers{42, 42, 42}, "   42|42   |00042"}, {"%+d % d", numbers{1, 1}, "+1  1"}, {"%.3d", numbers{-5}, "-005"}, {"%06.3d", numbers{5}, "   005"}, {"%.0d", numbers{0}, ""},
		{"%d", numbers{-two63}, "-9223372036854775808"}, {"%u", numbers{-1}, "18446744073709551615"}, {"%x", numbers{-1}, "ffffffffffffffff"}, {"%x %X %#x %#X", numbers{255, 255, 255, 255}, "ff FF 0xff 0XFF"}, {"%#x %#o", numbers{0, 0}, "0 0"}, {"%o %#o %#05o %#.3o %#.4o %#.0o", numbers{8, 8, 8, 8, 8, 0}, "10 010 00010 010 0010 0"}, {"%#06x", numbers{10}, "0x000a"}, {"%x", numbers{1 << 63}, "8000000000000000"},
		{"%d", numbers{two63}, "error: number has no integer representation"}, {"%d", numbers{inf}, "error: number has no integer representation"}, {"%x", numbers{nan}, "error: number has no integer representation"}, {"%u", numbers{two64}, "error: number has no integer representation"}, {"%c", numbers{-inf}, "error: number has no integer representation"},
		{"%c%c", numbers{72, 105}, "Hi"}, {"%c", numbers{0}, "\x00"}, {"%3c|%-3c|", numbers{65, 65}, "  A|A  |"}, {"%c", numbers{256 + 65}, "A"},
		{"%f %.2f %.0f %#.0f", numbers{1.5, 2.675, 2.5, 3}, "1.500000 2.67 2 3."}, {"%e %.0e %#.0e %E", numbers{12345, 5, 5, 0.5}, "1.234500e+04 5e+00 5.e+00 5.000000E-01"}, {"%g %g %g %G %#g", numbers{1e20, 1e-5, 100000, 1e-10, 1}, "1e+20 1e-05 100000 1E-10 1.00000"}, {"%.14g", numbers{0.1}, "0.1"}, {"%.3g", numbers{1234}, "1.23e+03"}, {"%.0g", numbers{25}, "2e+01"},
		{"%f %5.1f|%-8.2f|%08.2f", numbers{-0.5, 3.14159, 2.5, -2.5}, "-0.500000   3.1|2.50    |-0002.50"}, {"%f", numbers{math.Copysign(0, -1)}, "0.000000"}, {"%.0f", numbers{-0.3}, "-0"}, {"%.20f", numbers{0.1}, "0.10000000000000000555"},
		{"%f %g %E %5f|%05f|%+f", numbers{inf, -inf, inf, inf, inf, inf}, "inf -inf INF   inf|  inf|+inf"}, {"%f %G %-5g|", numbers{nan, nan, nan}, "nan NAN nan  |"},
		{"%s|%5s|%-5s|%.2s|%5.1s|", texts{"a", "ab", "ab", "abc", "xyz"}, "a|   ab|ab   |ab|    x|"}, {"%s", texts{"a\x00b"}, "a\x00b"}, {"%s", numbers{1.5}, "1.5"}, {"%d", texts{"0x10"}, "16"}, {"%d", texts{"x"}, "error: number expected"}, {"%s %s", texts{"a"}, "error: no value"},
		{"%q", texts{"a\"b\\c\nd\re\x00f"}, "\"a\\\"b\\\\c\\\nd\\re\\000f\""}, {"%q", texts{""}, `""`}, {"%q", texts{"\xff\t"}, "\"\xff\t\""},
		{"%", nil, "error: invalid option '%' to 'format'"}, {"%y", nil, "error: invalid option '%y' to 'format'"}, {"%p", nil, "error: invalid option '%p' to 'format'"}, {"%5%", nil, "error: invalid option '%%' to 'format'"}, {"%-+ #0-d", numbers{1}, "error: invalid format (repeated flags)"},
		{"%100d", numbers{1}, "error: invalid format (width or precision too long)"}, {"%.100f", numbers{1}, "error: invalid format (width or precision too long)"}, {"%1000000d", numbers{1}, "error: invalid format (width or precision too long)"}, {"%99d", numbers{1}, strings.Repeat(" ", 98) + "1"},
	} {
		got, err := Format(&testMeter{}, c.format, c.args)
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != c.want {
			t.Errorf("format(%q, %v) = %q, want %q", c.format, c.args, got, c.want)
		}
	}
	if s, err := Format(&testMeter{}, "%.99f", numbers{-math.MaxFloat64}); err != nil || len(s) != 1+309+1+99 {
		t.Error("the longest number:", len(s), err)
	}
	m := &testMeter{maxBytes: 1000}
	if _, err := Format(m, strings.Repeat("%99d", 20), make(numbers, 20)); err != errBudget {
		t.Error("a format beyond the budget:", err)
	}
}

func TestFormatNumber(t *testing.T) {
	for _, c := range []struct {
		f    float64
		want string
	}{
		{0, "0"}, {math.Copysign(0, -1), "0"}, {1, "1"}, {-1, "-1"}, {1e13, "10000000000000"}, {99999999999999, "99999999999999"}, {1e14, "1e+14"}, {123456789012345, "1.2345678901234e+14"}, {two63, "9.2233720368548e+18"}, {0.1, "0.1"}, {1.0 / 3, "0.33333333333333"}, {1e100, "1e+100"}, {1e-5, "1e-05"}, {0.0001, "0.0001"}, {123.456, "123.456"}, {2.5e-310, "2.5e-310"},
		{math.Inf(1), "inf"}, {math.Inf(-1), "-inf"}, {math.NaN(), "nan"}, {math.Copysign(math.NaN(), -1), "nan"}, {99999999999999.5, "1e+14"}, {-1e15, "-1e+15"},
	} {
		if got := FormatNumber(c.f); got != c.want {
			t.Errorf("tostring(%v) = %s, want %s", c.f, got, c.want)
		}
	}
}

func TestParseNumber(t *testing.T) {
	for _, c := range []struct{ s, want string }{
		{"0", "0"}, {" 10 ", "10"}, {"\t\n\v\f\r1\r", "1"}, {"1.", "1"}, {".5", "0.5"}, {"+1", "1"}, {"-1.5e3", "-1500"}, {"1E+2", "100"}, {"1e-2", "0.01"}, {"0x10", "16"}, {"0XfF", "255"}, {"-0x10", "-16"}, {"+0xa", "10"}, {"0xffffffffffffffff", "1.844674407371e+19"}, {"0x20000000000001", "9.007199254741e+15"}, {"1e999", "inf"}, {"-1e999", "-inf"}, {"1e-999", "0"}, {"00012", "12"},
		{"", "no"}, {" ", "no"}, {".", "no"}, {"e5", "no"}, {".e5", "no"}, {"1e", "no"}, {"1e+", "no"}, {"1 2", "no"}, {"- 1", "no"}, {"--1", "no"}, {"0x", "no"}, {"0xg", "no"}, {"0x1p4", "no"}, {"0x1.8", "no"}, {"0b11", "no"}, {"0o7", "no"}, {"1_000", "no"}, {"inf", "no"}, {"nan", "no"}, {"Infinity", "no"}, {"1\x00", "no"}, {"1f", "no"}, {"1e5.", "no"}, {"\u00a01", "no"}, {"0x_1", "no"}, {"x10", "no"},
	} {
		f, ok := ParseNumber(c.s)
		got := FormatNumber(f)
		if !ok {
			got = "no"
		}
		if got != c.want {
			t.Errorf("tonumber(%q) = %s, want %s", c.s, got, c.want)
		}
	}
	for _, c := range []struct {
		s    string
		base int
		want string
	}{
		{"11", 2, "3"}, {"ff", 16, "255"}, {"0xFF", 16, "255"}, {"zz", 36, "1295"}, {" -7 ", 8, "-7"}, {"8", 8, "no"}, {"", 2, "no"}, {"0x", 16, "no"}, {"0x1", 17, "no"}, {"1e1", 10, "10"}, {"1.5", 8, "no"}, {"10", 37, "no"}, {"10", 1, "no"}, {"-", 16, "no"},
		{"ffffffffffffffff", 16, "1.844674407371e+19"}, {strings.Repeat("f", 1000), 16, "1.844674407371e+19"}, {strings.Repeat("f", 1000) + "g", 16, "no"}, {"9007199254740993", 36, "1.844674407371e+19"},
	} {
		f, ok := ParseBase(c.s, c.base)
		got := FormatNumber(f)
		if !ok {
			got = "no"
		}
		if got != c.want {
			t.Errorf("tonumber(%.20q, %d) = %s, want %s", c.s, c.base, got, c.want)
		}
	}
	for _, v := range []uint64{0, 1<<53 + 1, 1<<53 + 3, 1<<64 - 1, 1<<64 - 1024, 1<<64 - 1025, 0x8000000000000400, 0x8000000000000401, 0x8000000000000c00} {
		if got, ok := ParseNumber(fmt.Sprint(v)); uintFloat(v) != got || !ok {
			t.Errorf("%d rounds to %v, want %v", v, uintFloat(v), got)
		}
	}
}

func TestIntegers(t *testing.T) {
	for _, c := range []struct {
		f     float64
		i     int64
		ok    bool
		clamp int64
	}{
		{0, 0, true, 0}, {-5, -5, true, -5}, {1.5, 0, false, 1}, {-1.5, 0, false, -1}, {math.NaN(), 0, false, 0}, {math.Inf(1), 0, false, clampMax}, {math.Inf(-1), 0, false, -clampMax},
		{two63, 0, false, clampMax}, {-two63, math.MinInt64, true, -clampMax}, {1 << 62, 1 << 62, true, clampMax}, {1<<53 - 1, 1<<53 - 1, true, 1<<53 - 1}, {1e300, 0, false, clampMax},
	} {
		if i, ok := Integer(c.f); ok != c.ok || ok && i != c.i {
			t.Errorf("Integer(%v) = %v, %v", c.f, i, ok)
		}
		if got := ClampInt(c.f); got != c.clamp {
			t.Errorf("ClampInt(%v) = %v, want %v", c.f, got, c.clamp)
		}
	}
}
