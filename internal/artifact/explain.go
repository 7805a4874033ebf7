package artifact

import (
	"fmt"
	"regexp"
	"strings"
)

// explain turns a failed Maven run into one sentence: what, why, what to do.
// rest is what is still missing.
func explain(runErr error, out *mavenOutput, rest []wanted) error {
	text := strings.Join(append(append([]string{}, out.errors...), out.other...), "\n")
	what := "the set"
	if len(rest) > 0 {
		what = fmt.Sprintf("%s%s", rest[0].Source.Maven, andMore(len(rest)-1))
		if named := firstNamed(text, rest); named != "" {
			what = fmt.Sprintf("%s%s", named, andMore(len(rest)-1))
		}
	}
	for _, s := range symptoms {
		if m := s.pattern.FindStringSubmatch(text); m != nil {
			cause := ""
			if len(m) > 1 && m[1] != "" {
				cause = " (" + tidy(m[1]) + ")"
			}
			return fmt.Errorf("Maven cannot fetch %s: %s%s; %s", what, s.reason, cause, s.remedy)
		}
	}
	cause := runErr.Error()
	if len(out.errors) > 0 {
		cause = tidy(out.errors[0])
	} else if len(out.other) > 0 {
		cause = tidy(out.other[0])
	}
	return fmt.Errorf("Maven cannot fetch %s: %s; try the same with mvn dependency:get to see more", what, cause)
}

// symptoms are what Maven writes when something outside is wrong, the most
// telling first.
var symptoms = []struct {
	pattern        *regexp.Regexp
	reason, remedy string
}{
	{
		regexp.MustCompile(`JAVA_HOME (?:environment variable )?is not (?:defined correctly|set)|java: (?:command )?not found|exec: .*java.*: not found|Unable to locate a Java`),
		"it finds no Java", "install a JDK, or set JAVA_HOME to one",
	},
	{
		regexp.MustCompile(`No space left on device|Disk quota exceeded`),
		"the disk of its local repository is full", "make room, then try again",
	},
	{
		regexp.MustCompile(`(?i)(Non-parseable settings[^\n:]*|Error executing Maven: [^\n]*settings[^\n]*)`),
		"its settings file cannot be read", "correct the settings.xml of Maven",
	},
	{
		regexp.MustCompile(`in offline mode`),
		"it is set to offline mode", "take <offline> out of the settings.xml of Maven, or import a cache that was exported elsewhere",
	},
	{
		regexp.MustCompile(`(?i)(Unknown host [^\s:]+|[^\s:]+: Name or service not known|Temporary failure in name resolution|Connection refused|Connection reset|Network is unreachable|No route to host|connect(?:ion)? timed out|Read timed out|Connect to [^\n]*? failed|PKIX path building failed|Remote host terminated the handshake)`),
		"the registry cannot be reached", "check the network and the mirrors and proxies in the settings.xml of Maven, then try again: what was fetched is kept",
	},
	{
		regexp.MustCompile(`(?i)(status(?: code)?:? (?:401|403|407)[^\n]{0,80}|Not authorized[^\n]{0,80}|authentication failed[^\n]{0,80})`),
		"the registry refuses access", "check the servers and proxies in the settings.xml of Maven",
	},
	{
		regexp.MustCompile(`(?i)(status(?: code)?:? 5\d\d[^\n]{0,80})`),
		"the registry has a fault", "try again later: what was fetched is kept",
	},
	{
		regexp.MustCompile(`Checksum validation failed`),
		"what the registry sent does not match its own checksum", "try again; if it stays so, the registry or a proxy is damaged",
	},
	{
		regexp.MustCompile(`(?:Could not find artifact|was not found in|Failure to find)`),
		"no registry has it", "check the coordinates in the lock, and that the mirrors in the settings.xml of Maven serve Maven Central",
	},
}

// firstNamed is the coordinate among rest that the text names first.
func firstNamed(text string, rest []wanted) string {
	best, at := "", -1
	for _, w := range rest {
		c := w.Source.Maven
		for _, form := range []string{c.Group + ":" + c.Artifact + ":" + c.Ext + ":", c.repoPath()} {
			if i := strings.Index(text, form); i >= 0 && (at < 0 || i < at) {
				best, at = c.String(), i
			}
		}
	}
	return best
}

var helpMark = regexp.MustCompile(`\s*-> \[Help \d+\].*$`)

// tidy makes one short clause of an error line.
func tidy(line string) string {
	line = helpMark.ReplaceAllString(strings.Join(strings.Fields(line), " "), "")
	line = strings.TrimRight(line, " .:;")
	if len(line) > 300 {
		line = line[:300] + "..."
	}
	return line
}
