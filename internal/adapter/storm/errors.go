package storm

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/thrift/lib/go/thrift"

	"howdah.dev/howdah/internal/adapter/storm/nimbusthrift"
)

// What an error of this package may be; test with errors.Is. A call whose
// context ended is context.Canceled or context.DeadlineExceeded besides.
var (
	// ErrNotFound: no topology of that name or id.
	ErrNotFound = errors.New("no such topology")
	// ErrNotLeader: a nimbus answered, but none leads. A nimbus does not lead
	// while it lacks the code of a topology that ZooKeeper knows.
	ErrNotLeader = errors.New("no nimbus leads")
	// ErrUnreachable: no nimbus answered in time.
	ErrUnreachable = errors.New("nimbus is unreachable")
	// ErrDenied: nimbus refused the user.
	ErrDenied = errors.New("not permitted")
	// ErrInvalid: nimbus refused what was asked, for example a rebalance to
	// more executors than a component has tasks.
	ErrInvalid = errors.New("refused")
)

// errFailed wraps a failure inside nimbus, which sends no more than the name
// of the call; the reason is in nimbus's log.
var errFailed = errors.New("nimbus failed; its log says why")

// classify turns what Thrift returns into an error of this package.
func classify(ctx context.Context, err error) error {
	var (
		notAlive *nimbusthrift.NotAliveException
		denied   *nimbusthrift.AuthorizationException
		invalid  *nimbusthrift.InvalidTopologyException
		app      thrift.TApplicationException
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &notAlive):
		return fmt.Errorf("%w: %s", ErrNotFound, notAlive.Msg)
	case errors.As(err, &denied):
		return fmt.Errorf("%w: %s", ErrDenied, denied.Msg)
	case errors.As(err, &invalid):
		return fmt.Errorf("%w: %s", ErrInvalid, invalid.Msg)
	case errors.As(err, &app):
		return fmt.Errorf("%w (%s)", errFailed, app.Error())
	}
	return unreachable(ctx, err)
}

// unreachable keeps the end of the context visible behind what the closed
// connection reported.
func unreachable(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, cause)
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}
