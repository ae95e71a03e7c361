package loader

import (
	"os"
	"testing"

	"xdpban/internal/lab"
)

func TestMain(m *testing.M) { os.Exit(lab.Main(m)) }
