package filter

import (
	"reflect"
	"testing"
)

func TestParseTellsAllThatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"description: x": "f.yaml: failregex: has no rule",
		"failregex: []":  "f.yaml: failregex: has no rule",
		`failregex:
  - '^a <HOST>$'
  - { regex: '^b <HOST>$', name: b, trust: maybe }
  - { regex: '^c <HOST>$', name: c, trust: verified }
  - { regex: '^c <HOST>$', name: c, trust: untrusted }
  - { name: d, trust: verified }
dialect: perl
`: `f.yaml:2: failregex[1].name: is missing
f.yaml:2: failregex[1].trust: is missing
f.yaml:3: failregex[2].trust: want verified, spoofable or untrusted, got "maybe"
f.yaml:5: failregex[4].name: "c" is the name of failregex[3] too
f.yaml:6: failregex[5].regex: is missing
f.yaml:7: dialect: want xdpban or fail2ban, got "perl"`,
		`failregex: [{ regex: x, name: a, trust: verified, color: red }]
samples: [{ line: x }, { line: x, host: none, trust: none, time: noon }]
`: `f.yaml:1: failregex[1].color: unknown key
f.yaml:2: samples[1].host: is missing
f.yaml:2: samples[2].trust: want verified, spoofable or untrusted, got "none"
f.yaml:2: samples[2].time: parsing time "noon" as "2006-01-02T15:04:05Z07:00": cannot parse "noon" as "2006"`,
	} {
		spec, err := Parse("f.yaml", []byte(text))
		if err == nil || err.Error() != want || spec != nil {
			t.Errorf("got\n%v\nwant\n%s", err, want)
		}
	}
}

func TestNewTellsAllThatIsWrong(t *testing.T) {
	spec, err := Parse("f.yaml", []byte(`prefix: [a, 'b c', '']
longest: -1
failregex:
  - { regex: '^a <HOST>$', name: a, trust: verified }
  - { regex: '^(b <HOST>$', name: b, trust: verified }
  - name: c
    trust: verified
    regex: '^<PREFIX>c$'
ignoreregex:
  - '['
  - '<WHO>'
`))
	if err != nil {
		t.Fatal(err)
	}
	want := `f.yaml:1: prefix[2]: "b c" is not the name of a daemon
f.yaml:1: prefix[3]: "" is not the name of a daemon
f.yaml:2: longest: is less than 0
f.yaml:5: failregex[2]: missing closing )
f.yaml:8: failregex[3]: names nobody: put <HOST> or <ADDR> where the address stands
f.yaml:10: ignoreregex[1]: missing closing ]: "["
f.yaml:11: ignoreregex[2]: unknown tag <WHO> (known: <ADDR> <CIDR> <HOST> <IP4> <IP6> <PREFIX> <SUBNET> <F-NAME>...</F-NAME>; a < that begins no tag is written \<)`
	if _, err := New("f", spec, Normal); err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestPlainRegexesAreSpoofableAndNumbered(t *testing.T) {
	f, err := Inline("f", []string{`^a <ADDR>$`, `^b (?P<host>\S+)$`})
	if err != nil {
		t.Fatal(err)
	}
	want := []Rule{
		{"failregex-1", `^a <ADDR>$`, `^a (?P<host>` + addr + `)$`, Spoofable, Linear},
		{"failregex-2", `^b (?P<host>\S+)$`, `^b (?P<host>\S+)$`, Spoofable, Linear},
	}
	if got := f.Rules(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestPlainRegexesOfFail2banNeedNoNameAndNoTrust(t *testing.T) {
	spec, err := Parse("f.yaml", []byte("dialect: fail2ban\nfailregex: ['^a <HOST>$', { regex: '^b <HOST>$', trust: verified }]\n"))
	if err != nil || spec.Dialect.V != Fail2ban {
		t.Errorf("%v: %+v", err, spec)
	}
}

func TestTrustIsWrittenAsItIsRead(t *testing.T) {
	for _, want := range []Trust{Verified, Spoofable, Untrusted} {
		text, err := want.MarshalText()
		var got Trust
		if err != nil || got.UnmarshalText(text) != nil || got != want {
			t.Errorf("%v is read as %v", want, got)
		}
	}
	var none Trust
	if none.UnmarshalText(nil) == nil || none.UnmarshalText([]byte("")) == nil {
		t.Error("no trust is read as one")
	}
}
