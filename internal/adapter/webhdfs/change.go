package webhdfs

import (
	"context"
	"errors"
	"io/fs"
	"strconv"
)

// errRefused is an operation's bare "false". HDFS gives no reason with it.
var errRefused = errors.New("NameNode refused without a reason")

// flag does an operation that answers true or false.
func (c *Client) flag(ctx context.Context, r request) (bool, error) {
	var answer struct {
		Boolean bool `json:"boolean"`
	}
	err := c.do(ctx, r, &answer)
	return answer.Boolean, err
}

// Mkdirs makes a folder and its parents with the given permissions (0 for the
// server's default, 755). One that exists is left as it is; a file in the way
// is fs.ErrExist.
func (c *Client) Mkdirs(ctx context.Context, name string, perm fs.FileMode) error {
	r := request{method: "PUT", op: "MKDIRS", path: name}
	if perm != 0 {
		r.params = map[string]string{"permission": octalOf(perm)}
	}
	made, err := c.flag(ctx, r)
	if err == nil && !made {
		err = errRefused
	}
	return cannot("make folder", name, err)
}

// Rename moves a file or folder in one step. Into an existing folder it moves;
// an existing file is never replaced. HDFS does not say why it refused: where
// the source is missing the error is fs.ErrNotExist, where the destination is
// a file fs.ErrExist.
func (c *Client) Rename(ctx context.Context, from, to string) error {
	r := request{method: "PUT", op: "RENAME", path: from, params: map[string]string{"destination": to}}
	moved, err := c.flag(ctx, r)
	if err == nil && !moved {
		err = c.whyNotMoved(ctx, from, to)
	}
	return cannot("rename", from+" to "+to, err)
}

// Replace moves a file to a name, in one step in the place of a file that has it.
func (c *Client) Replace(ctx context.Context, from, to string) error {
	r := request{method: "PUT", op: "RENAME", path: from, params: map[string]string{"destination": to, "renameoptions": "OVERWRITE"}}
	return cannot("rename", from+" to "+to, c.do(ctx, r, nil))
}

func (c *Client) whyNotMoved(ctx context.Context, from, to string) error {
	if _, err := c.Status(ctx, from); errors.Is(err, fs.ErrNotExist) {
		return fs.ErrNotExist
	}
	if _, err := c.Status(ctx, to); err == nil {
		return fs.ErrExist
	}
	return errRefused
}

// Delete removes a file or folder. A missing one is fs.ErrNotExist, a folder
// with entries ErrNotEmpty unless recursive.
func (c *Client) Delete(ctx context.Context, name string, recursive bool) error {
	r := request{method: "DELETE", op: "DELETE", path: name, params: map[string]string{"recursive": strconv.FormatBool(recursive)}}
	gone, err := c.flag(ctx, r)
	if err == nil && !gone {
		err = fs.ErrNotExist
	}
	return cannot("delete", name, err)
}

// SetPermission sets permissions and the sticky bit.
func (c *Client) SetPermission(ctx context.Context, name string, mode fs.FileMode) error {
	r := request{method: "PUT", op: "SETPERMISSION", path: name, params: map[string]string{"permission": octalOf(mode)}}
	return cannot("set permissions of", name, c.do(ctx, r, nil))
}

// SetOwner sets owner and group; an empty one stays. Only a superuser may
// change the owner.
func (c *Client) SetOwner(ctx context.Context, name, owner, group string) error {
	params := map[string]string{}
	if owner != "" {
		params["owner"] = owner
	}
	if group != "" {
		params["group"] = group
	}
	r := request{method: "PUT", op: "SETOWNER", path: name, params: params}
	return cannot("set owner of", name, c.do(ctx, r, nil))
}

// SetQuota limits a folder: names (files and folders, itself included) and
// space (bytes with replicas). -1 takes a limit away. Only a superuser may.
func (c *Client) SetQuota(ctx context.Context, name string, names, space int64) error {
	r := request{method: "PUT", op: "SETQUOTA", path: name, params: map[string]string{
		"namespacequota":    strconv.FormatInt(names, 10),
		"storagespacequota": strconv.FormatInt(space, 10),
	}}
	return cannot("set quota of", name, c.do(ctx, r, nil))
}
