// Package configs holds what users read and copy, and what the program uses where they
// have not: the reference configuration, jails and filters.
package configs

import "embed"

// FS has xdpban.yaml, jails.d/*.yaml and filters/*.yaml.
//
//go:embed xdpban.yaml jails.d/*.yaml filters/*.yaml
var FS embed.FS
