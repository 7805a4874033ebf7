// Command ingest joins source files into the parts of a dataset of the
// warehouse. Any number of instances share the work; each may be killed at any
// moment, and the dataset is exact all the same (see work.go). It is an example
// of a container on the warehouse: it uses the standard library only, knows the
// warehouse by the variables a task gets, and nothing of who runs it.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	err := run(ctx, os.Environ(), slog.New(slog.NewTextHandler(os.Stderr, nil)))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "ingest:", err)
		os.Exit(1)
	}
}

// run works until the context ends. With the dataset complete it idles, so that
// whoever keeps instances running does not start it again.
func run(ctx context.Context, environ []string, log *slog.Logger) error {
	cfg, err := configure(environ)
	if err != nil {
		return err
	}
	log = log.With("task", cfg.task, "dataset", cfg.dataset)
	h := &health{}
	stop, err := h.serve(ctx, cfg.host, cfg.port, log)
	if err != nil {
		return err
	}
	defer stop()
	h.set("reading", 0, 0)
	t, err := scan(ctx, cfg.source, cfg.match)
	if err == nil {
		log.Info("sources read", "files", len(t.files), "bytes", t.bytes, "digest", t.digest)
		w := &worker{cfg: cfg, tree: t, log: log, health: h, store: newStore(cfg, h)}
		if err = w.work(ctx); err == nil {
			log.Info("dataset is complete; idle until told to end")
			err = w.idle(ctx)
		}
		w.leave()
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // told to end
	}
	return err
}
