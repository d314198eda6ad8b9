package control

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

func TestPathsOfAnyBytesSurviveJSON(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		path Path
		json string
	}{
		"plain":                       {"/a/b", `"/a/b"`},
		"quotes and backslashes":      {`/a"\u0041\\`, `"/a\"\\u0041\\\\"`},
		"a byte that is no character": {"/a\xffb", `"/a\udcffb"`},
		"a lone lead byte at the end": {"\xc3", `"\udcc3"`},
		"a real replacement rune":     {"\xff\ufffd", "\"\\udcff\ufffd\""},
		"a backslash before a byte":   {"\\\xff", `"\\\udcff"`},
		"text that looks like one":    {`\udcff`, `"\\udcff"`},
		"newline and bad byte":        {"\n\x80", `"\n\udc80"`},
		"a surrogate in bytes":        {"\xed\xb3\xbf", `"\udced\udcb3\udcbf"`},
		"nothing":                     {"", `""`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := json.Marshal(tc.path)
			if err != nil || string(data) != tc.json {
				t.Fatalf("encoded %s, %v; want %s", data, err, tc.json)
			}
			var back Path
			if err := json.Unmarshal(data, &back); err != nil || back != tc.path {
				t.Fatalf("decoded %q, %v; want %q", back, err, tc.path)
			}
		})
	}
}

func TestAProperSurrogatePairIsOneCharacter(t *testing.T) {
	t.Parallel()
	var p Path
	if err := json.Unmarshal([]byte(`"\ud83d\ude00 \ud83d\udcff"`), &p); err != nil || p != "😀 📿" {
		t.Fatalf("%q, %v", p, err)
	}
}

func TestAPathMustBeAString(t *testing.T) {
	t.Parallel()
	var p Path
	for _, text := range []string{`7`, `["a"]`, `{}`} {
		if err := json.Unmarshal([]byte(text), &p); err == nil {
			t.Errorf("%s was taken as %q", text, p)
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"/a", "\xff", `\udc80`, "\\\xed\xa0\x80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		data, err := json.Marshal(Path(s))
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(data) {
			t.Fatalf("%q is not UTF-8", data)
		}
		var back Path
		if err := json.Unmarshal(data, &back); err != nil || string(back) != s {
			t.Fatalf("%q became %s became %q (%v)", s, data, back, err)
		}
	})
}

func FuzzPathDecode(f *testing.F) {
	f.Add([]byte(`"\udc80\u"`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		var p Path
		_ = json.Unmarshal(data, &p) // must not panic
		_ = p.UnmarshalJSON(data)
	})
}
