package unpack

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncFS puts all that was written to the file system of dir on the disk.
func syncFS(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Syncfs(int(d.Fd()))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// writeFile makes a small file appear whole, by rename.
func writeFile(name, tmpDir string, data []byte) error {
	f, err := os.CreateTemp(tmpDir, "file-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
