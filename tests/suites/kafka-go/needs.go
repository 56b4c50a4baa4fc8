// Package needs holds no code: it names what the tests of kafka-go import, so that go.sum pins it.
package needs

import (
	_ "github.com/segmentio/kafka-go"
	_ "github.com/stretchr/testify/require"
	_ "github.com/xdg-go/scram"
	_ "golang.org/x/net/nettest"
)
