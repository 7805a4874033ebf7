package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const datasetVariable = "HOWDAH_DATASET_"

// config is what the environment says.
type config struct {
	webhdfs   *url.URL // of the WebHDFS service, without its path
	tokenFile string   // "" without a token
	user      string   // for a NameNode that is asked directly
	dataset   string   // path in the warehouse
	source    string   // local directory
	match     string   // of base names
	partMB    int64
	lease     time.Duration // how long a claim holds unless renewed
	task      string        // who we are, safe as part of a file name
	pipeline  string
	run       string
	host      string
	port      string // "" without a health endpoint
}

// configure reads the environment and reports all that is wrong with it.
func configure(environ []string) (config, error) {
	env := map[string]string{}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	or := func(name, value string) string {
		if env[name] != "" {
			return env[name]
		}
		return value
	}
	c := config{
		tokenFile: env["HOWDAH_TOKEN_FILE"], user: env["HADOOP_USER_NAME"],
		source: or("INGEST_SOURCE", "/src"), match: or("INGEST_MATCH", "*.go"),
		pipeline: env["HOWDAH_PIPELINE"], run: env["HOWDAH_RUN"], host: env["HOST"], port: env["PORT0"],
		task: or("MESOS_TASK_ID", "ingest"),
	}
	var errs [5]error
	c.webhdfs, errs[0] = serviceURL(env["WEBHDFS_URL"])
	c.dataset, errs[1] = datasetPath(env)
	if c.partMB, errs[2] = strconv.ParseInt(or("INGEST_PART_MB", "16"), 10, 32); errs[2] != nil || c.partMB < 1 || c.partMB > 4096 {
		errs[2] = fmt.Errorf("INGEST_PART_MB is %q; give a number of MiB from 1 to 4096", env["INGEST_PART_MB"])
	}
	if c.lease, errs[3] = time.ParseDuration(or("INGEST_LEASE", "15s")); errs[3] != nil || c.lease < 100*time.Millisecond {
		errs[3] = fmt.Errorf("INGEST_LEASE is %q; give a time such as 15s", env["INGEST_LEASE"])
	}
	if _, err := path.Match(c.match, ""); err != nil {
		errs[4] = fmt.Errorf("INGEST_MATCH is %q, which is no pattern; give one such as *.go", c.match)
	}
	c.task = unsafeName.ReplaceAllString(c.task, "-") + "." + random()
	return c, errors.Join(errs[:]...)
}

var unsafeName = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

// random makes a process unlike any other, also one with the same task id that
// was killed a moment ago: its last requests may still be on their way.
func random() string {
	b := make([]byte, 4)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func serviceURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("WEBHDFS_URL is %q; it must be the address of WebHDFS, such as http://127.0.0.1:9870", text)
	}
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/webhdfs/v1")
	return u, nil
}

// datasetPath finds the dataset to write: the one named by INGEST_DATASET, or
// the only one there is.
func datasetPath(env map[string]string) (string, error) {
	var names []string
	for name := range env {
		if strings.HasPrefix(name, datasetVariable) {
			names = append(names, name)
		}
	}
	variable := ""
	if name := env["INGEST_DATASET"]; name != "" {
		variable = datasetVariable + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	} else if len(names) == 1 {
		variable = names[0]
	}
	switch value := env[variable]; {
	case variable == "":
		return "", fmt.Errorf("%d datasets are given by %s* variables; name one in INGEST_DATASET", len(names), datasetVariable)
	case !strings.HasPrefix(value, "/") || path.Clean(value) != value || value == "/":
		return "", fmt.Errorf("%s is %q; it must be the path of a dataset, such as /data/go-src", variable, value)
	default:
		return value, nil
	}
}
