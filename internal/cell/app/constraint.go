package app

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func (c Constraint) key() string { return strings.Join(c, "\x00") }

// Problem says in Marathon's words what is wrong with a constraint, "" if nothing is.
func (c Constraint) Problem() string {
	if len(c) < 2 || len(c) > 3 {
		return "Each constraint must have either 2 or 3 fields"
	}
	if c.Field() == "" {
		return "illegal constraint specification"
	}
	value, given := c.Value()
	_, notInt := strconv.ParseInt(value, 10, 32)
	switch strings.ToUpper(c.Operator()) {
	case Unique:
		if given {
			return "UNIQUE does not accept a value"
		}
	case Cluster:
	case GroupBy:
		if given && notInt != nil {
			return "GROUP BY must define an integer value or else no value at all"
		}
	case MaxPer:
		if notInt != nil {
			return "MAX_PER requires an integer value"
		}
	case Like, Unlike:
		if !given {
			return "LIKE and UNLIKE require a non-empty, regular expression value"
		}
		if _, err := regexp.Compile(value); err != nil {
			return "is not a valid regular expression"
		}
	case Is:
		if !isPlainText(value) {
			return "IS only supports Mesos text and float values (see http://mesos.apache.org/documentation/latest/attributes-resources/)"
		}
	default:
		return "operator must be one of the following UNIQUE, CLUSTER, GROUP_BY, LIKE, MAX_PER, UNLIKE or IS"
	}
	return ""
}

func isPlainText(s string) bool {
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/.-") == ""
}

// normalised writes the operator in capitals.
func (c Constraint) normalised() Constraint {
	if len(c) < 2 {
		return c
	}
	c = slices.Clone(c)
	c[1] = strings.ToUpper(c[1])
	return c
}
