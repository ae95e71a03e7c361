package filter

import (
	"strings"
	"sync"
	"time"
)

// zoneOffsets are the names of zones that a date may have, in seconds east of UTC: those that
// fail2ban 1.0.2 knows. A name that more than one zone has is the one's that fail2ban takes;
// the single letters are those of the armed forces.
var zoneOffsets = sync.OnceValue(func() map[string]int {
	return readZones(`
		-1200 Y
		-1100 X NUT SST
		-1000 W CKT HST TKT HAST TAHT
		-0930 MIT MART
		-0900 V GIT HNY AKST GAMT HADT
		-0800 U PT HAY HNP PST AKDT CIST
		-0700 T HAP HNR MST PDT
		-0600 S CST HAR HNC MDT EAST GALT
		-0500 R ET CDT COT ECT EST HAC HNE PET EASST
		-0430 HLV VET
		-0400 Q AST BOT CLT EDT FKT GYT HAE HNA PYT COST
		-0330 NT HNT NST
		-0300 P ADT ART BRT GFT HAA SRT UYT WGT CLST FKST PMST PYST
		-0230 HAT NDT
		-0200 O FNT BRST PMDT UYST WGST
		-0100 N CVT EGT AZOT
		+0000 Z WT GMT UTC WET EGST
		+0100 A CET DFT WAT WEDT WEST
		+0200 B CAT EET CEDT CEST SAST WAST
		+0300 C EAT IDT MSK EEDT EEST
		+0330 IRST
		+0400 D AMT AZT GET GST MSD MUT RET SCT KUYT SAMT
		+0430 AFT IRDT
		+0500 E HMT MVT PKT TFT TJT TMT UZT AMST AQTT AZST MAWT YEKT
		+0530 SLT
		+0545 NPT
		+0600 F BTT IOT KGT ALMT BIOT NOVT OMST YEKST
		+0630 CCT MMT
		+0700 G CXT ICT THA WIB DAVT HOVT KRAT NOVST OMSST
		+0800 H ACT BDT BNT HKT MYT PHT SGT WST AWST CAST IRKT ULAT WITA KRAST
		+0900 I JST KST PWT TLT WDT WIT AWDT YAKT IRKST
		+0930 ACST
		+1000 K PGT AEST VLAT YAPT YAKST
		+1030 ACDT LHST
		+1100 L NCT SBT VUT AEDT LHDT MAGT PONT VLAST
		+1130 NFT
		+1200 M FJT MHT TVT WFT ANAT GILT NZST PETT ANAST MAGST PETST
		+1300 FJST NZDT
	`)
})

func readZones(table string) map[string]int {
	offsets := make(map[string]int)
	for line := range strings.Lines(table) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		offset, ok := offsetOf(words[0])
		if !ok {
			panic("zone " + words[0])
		}
		for _, name := range words[1:] {
			offsets[name] = offset
		}
	}
	return offsets
}

// zoneOffsetOf is how far a zone is east of UTC, in seconds: Z, CET, +0100, +01:00, +01 or CET+01.
func zoneOffsetOf(zone string) (seconds int, ok bool) {
	name, offset := zone, ""
	if sign := strings.IndexAny(zone, "+-"); sign >= 0 {
		name, offset = zone[:sign], zone[sign:]
	}
	if name != "" {
		if seconds, ok = zoneOffsets()[name]; !ok || offset == "" {
			return seconds, ok
		}
	}
	more, ok := offsetOf(offset)
	return seconds + more, ok
}

// offsetOf reads +01, +0100 and +01:00 as seconds.
func offsetOf(text string) (seconds int, ok bool) {
	c := cursor{text: []byte(text)}
	sign := 1
	if c.take('-') {
		sign = -1
	} else {
		c.want('+')
	}
	hours, minutes := c.number(2), 0
	if c.take(':') || c.digit() {
		minutes = c.number(2)
	}
	return sign * (hours*60 + minutes) * 60, !c.bad && c.at == len(text)
}

// local is the time at which clocks of loc show what t, in UTC, shows. For an hour that they
// skip or show twice, they are taken to be as they were before the change.
func local(t time.Time, loc *time.Location) time.Time {
	before := shift(t.Add(-24*time.Hour), loc)
	behind := shift(t.Add(24*time.Hour), loc)
	if first := t.Add(-before); before == behind || shift(first, loc) == before {
		return first.In(loc)
	}
	if second := t.Add(-behind); shift(second, loc) == behind {
		return second.In(loc)
	}
	return t.Add(-before).In(loc)
}

// shift is how far loc is east of UTC at t.
func shift(t time.Time, loc *time.Location) time.Duration {
	_, seconds := t.In(loc).Zone()
	return time.Duration(seconds) * time.Second
}
