// Package needs holds no code: it names the library whose tests are run, so that go.sum pins it.
package needs

import (
	_ "github.com/twmb/franz-go/pkg/kgo"
)
