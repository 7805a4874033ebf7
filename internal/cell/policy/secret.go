package policy

import (
	"fmt"
	"log/slog"
	"slices"
)

const redacted = "[redacted]"

// Secret is a value that no formatting, logging or encoding shows. It is held by a
// function, because package fmt looks into unexported fields of structs without
// asking their methods.
type Secret struct{ reveal func() []byte }

// NewSecret keeps a copy of a value.
func NewSecret(value []byte) Secret {
	value = slices.Clone(value)
	return Secret{func() []byte { return slices.Clone(value) }}
}

// Reveal returns a copy of the value, for the one place that uses it.
func (s Secret) Reveal() []byte {
	if s.reveal == nil {
		return nil
	}
	return s.reveal()
}

// IsZero tells whether there is no value.
func (s Secret) IsZero() bool { return len(s.Reveal()) == 0 }

// String hides the value.
func (s Secret) String() string { return redacted }

// Format hides the value from every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText hides the value, in JSON and as the key of a map too.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue hides the value from logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
