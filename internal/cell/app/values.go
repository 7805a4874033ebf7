package app

import (
	"encoding/json"
	"fmt"
	"time"
)

// timestampLayout is Marathon's: always milliseconds, always UTC.
const timestampLayout = "2006-01-02T15:04:05.000Z"

// Timestamp is a moment in milliseconds, on the wire 2014-03-01T23:42:20.938Z. It is
// also what names a version of an app or group.
type Timestamp struct{ time.Time }

// At returns the Timestamp of t, cut to milliseconds.
func At(t time.Time) Timestamp { return Timestamp{t.UTC().Truncate(time.Millisecond)} }

// ParseTimestamp reads a timestamp of any ISO 8601 offset and precision.
func ParseTimestamp(s string) (Timestamp, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return Timestamp{}, fmt.Errorf("cannot read timestamp %q: it must look like 2014-03-01T23:42:20.938Z", clip(s))
	}
	return At(t), nil
}

// String writes t as Marathon does.
func (t Timestamp) String() string { return t.UTC().Format(timestampLayout) }

// MarshalJSON writes t as Marathon does.
func (t Timestamp) MarshalJSON() ([]byte, error) { return json.Marshal(t.String()) }

// UnmarshalJSON reads what MarshalJSON wrote, and other ISO 8601.
func (t *Timestamp) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	parsed, err := ParseTimestamp(s)
	if err != nil {
		return err
	}
	*t = parsed
	return nil
}

type secretRef struct {
	Secret string `json:"secret"`
}

// MarshalJSON writes the value, or {"secret": name}.
func (v EnvValue) MarshalJSON() ([]byte, error) {
	if v.Secret != "" {
		return json.Marshal(secretRef{v.Secret})
	}
	return json.Marshal(v.Value)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (v *EnvValue) UnmarshalJSON(b []byte) error {
	*v = EnvValue{}
	if len(b) > 0 && b[0] == '{' {
		var ref secretRef
		if err := json.Unmarshal(b, &ref); err != nil {
			return err
		}
		v.Secret = ref.Secret
		return nil
	}
	return json.Unmarshal(b, &v.Value)
}

const disabled = "disabled"

type unreachableEnabled struct {
	InactiveAfterSeconds int64 `json:"inactiveAfterSeconds"`
	ExpungeAfterSeconds  int64 `json:"expungeAfterSeconds"`
}

// MarshalJSON writes "disabled" or the two times.
func (u UnreachableStrategy) MarshalJSON() ([]byte, error) {
	if u.Disabled {
		return json.Marshal(disabled)
	}
	return json.Marshal(unreachableEnabled{u.InactiveAfterSeconds, u.ExpungeAfterSeconds})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (u *UnreachableStrategy) UnmarshalJSON(b []byte) error {
	if string(b) == `"`+disabled+`"` {
		*u = UnreachableStrategy{Disabled: true}
		return nil
	}
	var e unreachableEnabled
	if err := json.Unmarshal(b, &e); err != nil {
		return err
	}
	*u = UnreachableStrategy{InactiveAfterSeconds: e.InactiveAfterSeconds, ExpungeAfterSeconds: e.ExpungeAfterSeconds}
	return nil
}

const unlimited = "unlimited"

// MarshalJSON writes "unlimited" or the number.
func (l ResourceLimit) MarshalJSON() ([]byte, error) {
	if l.Unlimited {
		return json.Marshal(unlimited)
	}
	return json.Marshal(l.Value)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (l *ResourceLimit) UnmarshalJSON(b []byte) error {
	if string(b) == `"`+unlimited+`"` {
		*l = ResourceLimit{Unlimited: true}
		return nil
	}
	*l = ResourceLimit{}
	return json.Unmarshal(b, &l.Value)
}

// clip shortens what is shown of a user's value.
func clip(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
