package storm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"howdah.dev/howdah/internal/adapter/storm/nimbusthrift"
)

// Limits on what a nimbus may send, in bytes. An answer grows with the number
// of topologies and components; Storm's own limit is 1 MiB by default.
const (
	maxFrame   = 16 << 20
	maxMessage = 32 << 20
)

// DefaultTimeout bounds one call where Config does not.
const DefaultTimeout = 10 * time.Second

// Config says where nimbus is.
type Config struct {
	// Addresses are host:port of every nimbus, at least one. Queries go to the
	// first that answers, changes to the leader.
	Addresses []string
	// Timeout bounds one call, connecting included, beside the caller's
	// context; DefaultTimeout if zero.
	Timeout time.Duration
	// Dial opens connections; a net.Dialer's if nil.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client asks a nimbus. It holds no connection between calls and may be used
// by many goroutines.
type Client struct{ cfg Config }

// New returns a client. It opens no connection.
func New(cfg Config) *Client {
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Dial == nil {
		cfg.Dial = new(net.Dialer).DialContext
	}
	return &Client{cfg: cfg}
}

// Leader returns the nimbus that leads. The error may be ErrNotLeader or
// ErrUnreachable.
func (c *Client) Leader(ctx context.Context) (Nimbus, error) {
	n, err := c.leader(ctx)
	if err != nil {
		return Nimbus{}, fmt.Errorf("cannot find leading nimbus: %w", err)
	}
	return n, nil
}

func (c *Client) leader(ctx context.Context) (Nimbus, error) {
	var leader *nimbusthrift.NimbusSummary
	err := c.query(ctx, func(ctx context.Context, n *nimbusthrift.NimbusClient) (err error) {
		leader, err = n.GetLeader(ctx)
		return err
	})
	if errors.Is(err, errFailed) {
		// Nimbus throws an undeclared exception when there is no leader.
		return Nimbus{}, ErrNotLeader
	}
	if err != nil {
		return Nimbus{}, err
	}
	return nimbusOf(leader), nil
}

type call func(context.Context, *nimbusthrift.NimbusClient) error

// query asks the first nimbus that answers.
func (c *Client) query(ctx context.Context, f call) error {
	if len(c.cfg.Addresses) == 0 {
		return fmt.Errorf("%w: no address is known", ErrUnreachable)
	}
	var errs []error
	for _, address := range c.cfg.Addresses {
		err := c.call(ctx, address, f)
		if !errors.Is(err, ErrUnreachable) {
			return err
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// command asks the leader.
func (c *Client) command(ctx context.Context, f call) error {
	leader, err := c.leader(ctx)
	if err != nil {
		return err
	}
	return c.call(ctx, net.JoinHostPort(leader.Host, strconv.Itoa(leader.Port)), f)
}

// call makes one call on a connection of its own, within the time-out.
func (c *Client) call(ctx context.Context, address string, f call) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	conn, err := c.cfg.Dial(ctx, "tcp", address)
	if err != nil {
		return unreachable(ctx, err)
	}
	defer conn.Close()
	// Thrift's own time-outs are per read and know no cancellation. Whatever
	// ends the context, deadline included, ends the read or write under way.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // a closed one needs none
	defer stop()
	return classify(ctx, f(ctx, newThriftClient(conn)))
}

func newThriftClient(conn net.Conn) *nimbusthrift.NimbusClient {
	cfg := &thrift.TConfiguration{MaxFrameSize: maxFrame, MaxMessageSize: maxMessage}
	transport := thrift.NewTFramedTransportConf(thrift.NewStreamTransportRW(conn), cfg)
	protocol := thrift.NewTBinaryProtocolConf(transport, cfg)
	return nimbusthrift.NewNimbusClient(thrift.NewTStandardClient(protocol, protocol))
}
