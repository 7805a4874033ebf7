// Command content is what images hold in tests of the cell: one static program that
// does what its arguments say, one after the other, as init or sh.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	args := os.Args[1:]
	if len(args) > 1 && args[0] == "-c" { // called as a shell
		args = strings.Fields(args[1])
	}
	for len(args) > 0 {
		args = do(args[0], args[1:])
	}
}

// do does one thing and returns the arguments that are left.
func do(verb string, args []string) []string {
	next := func() string {
		if len(args) == 0 {
			fmt.Fprintln(os.Stderr, verb, "needs an argument")
			os.Exit(64)
		}
		arg := args[0]
		args = args[1:]
		return arg
	}
	switch verb {
	case "echo":
		fmt.Println(next())
	case "env":
		fmt.Println(os.Getenv(next()))
	case "exit":
		os.Exit(number(next()))
	case "sleep":
		time.Sleep(time.Duration(number(next())) * time.Millisecond)
	case "id":
		fmt.Println(os.Getuid(), os.Getgid(), os.Getpid())
	case "cat":
		text, err := os.ReadFile(next())
		say(string(text), err)
	case "ls":
		entries, err := os.ReadDir(next())
		for _, e := range entries {
			fmt.Println(e.Name())
		}
		say("", err)
	case "write":
		say("", os.WriteFile(next(), []byte("written\n"), 0o644))
	case "remove":
		say("", os.Remove(next()))
	case "trap":
		code := number(next())
		asked := make(chan os.Signal, 1)
		signal.Notify(asked, syscall.SIGTERM)
		go func() {
			<-asked
			os.Exit(code)
		}()
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
	case "log":
		for {
			fmt.Println("0123456789012345678901234567890123456789")
		}
	case "hog":
		hog()
	case "fill":
		fill(next())
	case "forkbomb":
		forkBomb()
	case "listen":
		listen(next())
	case "udp":
		udp(next())
	case "get":
		text, err := get(next())
		say(text, err)
	case "warehouse", "warehouse-tokenless":
		say(warehouse(verb == "warehouse", next(), next(), next()))
	case "scan":
		scan(number(next()))
	case "dial":
		dial(strings.Split(next(), ","))
	case "linger":
		linger(time.Duration(number(next())) * time.Millisecond)
	case "mount":
		say("", syscall.Mount("none", "/tmp", "tmpfs", 0, ""))
	case "wait":
		for {
			time.Sleep(time.Hour)
		}
	default:
		fmt.Fprintln(os.Stderr, "unknown:", verb)
		os.Exit(64)
	}
	return args
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(64)
	}
	return n
}

func say(text string, err error) {
	if err != nil {
		text = "error: " + err.Error() + "\n"
	}
	fmt.Print(text)
}

// hog takes all memory there is.
func hog() {
	var all [][]byte
	for {
		piece := make([]byte, 4<<20)
		for i := range piece {
			piece[i] = byte(i)
		}
		all = append(all, piece)
		fmt.Println(len(all))
	}
}

// fill takes all disk there is.
func fill(file string) {
	f, err := os.Create(file)
	if err != nil {
		say("", err)
		return
	}
	piece := make([]byte, 1<<20)
	for i := range 512 {
		if _, err := f.Write(piece); err != nil {
			say("", err)
			return
		}
		time.Sleep(time.Duration(i%2) * time.Millisecond)
	}
	time.Sleep(time.Hour)
}

// forkBomb starts processes until no more can be started, says how many, and waits.
func forkBomb() {
	n := 0
	for ; n < 100_000; n++ {
		if _, err := syscall.ForkExec("/proc/self/exe", []string{"content", "wait"}, &syscall.ProcAttr{}); err != nil {
			break
		}
	}
	fmt.Println("processes", n)
	time.Sleep(time.Hour)
}

// listen answers HTTP on a port in the background: /status/N with that status,
// /env/NAME with that variable.
func listen(port string) {
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		say("", err)
		os.Exit(1)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if code, ok := strings.CutPrefix(r.URL.Path, "/status/"); ok {
			w.WriteHeader(number(code))
		}
		if name, ok := strings.CutPrefix(r.URL.Path, "/env/"); ok {
			fmt.Fprint(w, os.Getenv(name))
			return
		}
		if file := r.URL.Query().Get("ok-if"); file != "" {
			if _, err := os.Stat(file); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}
		fmt.Fprintf(w, "hello from %d, port %s\n", os.Getpid(), port)
	})
	go func() { _ = http.Serve(l, handler) }()
	fmt.Println("listening")
}

// udp answers every packet in upper case.
func udp(port string) {
	c, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		say("", err)
		os.Exit(1)
	}
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteTo([]byte(strings.ToUpper(string(buf[:n]))), from)
		}
	}()
	fmt.Println("listening")
}

func get(url string) (string, error) {
	client := http.Client{Timeout: 5 * time.Second}
	r, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return string(text), err
}

// warehouse sends a request to the warehouse, with the task's token or without, and
// returns status and body in one line. The path goes as it is.
func warehouse(withToken bool, method, path, body string) (string, error) {
	r, err := http.NewRequest(method, os.Getenv("WEBHDFS_URL")+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	if withToken {
		token, err := os.ReadFile(os.Getenv("HOWDAH_TOKEN_FILE"))
		if err != nil {
			return "", err
		}
		r.Header.Set("Authorization", "Bearer "+string(token))
	}
	client := http.Client{Timeout: 20 * time.Second}
	answer, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return fmt.Sprintln(answer.StatusCode, strings.ReplaceAll(string(text), "\n", " ")), err
}

// dial names those of the addresses that take a connection.
func dial(addresses []string) {
	for _, a := range addresses {
		c, err := net.DialTimeout("tcp", a, time.Second)
		if err == nil {
			c.Close()
			fmt.Println("open", a)
		}
	}
	fmt.Println("dialled", len(addresses))
}

// linger goes on for a while after it is told to end, as servers do that others
// have still to forget.
func linger(d time.Duration) {
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGTERM)
	go func() {
		<-asked
		time.Sleep(d)
		os.Exit(0)
	}()
}

// scan names every TCP port of loopback up to one that answers.
func scan(last int) {
	for port := 1; port <= last; port++ {
		c, err := net.DialTimeout("tcp", "127.0.0.1:"+strconv.Itoa(port), time.Second)
		if err == nil {
			c.Close()
			fmt.Println("open", port)
		}
	}
	fmt.Println("scanned")
}
