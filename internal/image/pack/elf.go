package pack

import (
	"debug/elf"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"howdah.dev/howdah/internal/image"
)

// machines maps architectures as Go and OCI name them.
func machines() map[string]elf.Machine {
	return map[string]elf.Machine{
		"amd64": elf.EM_X86_64, "386": elf.EM_386, "arm64": elf.EM_AARCH64, "arm": elf.EM_ARM,
		"riscv64": elf.EM_RISCV, "ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390,
		"loong64": elf.EM_LOONGARCH, "mips64le": elf.EM_MIPS,
	}
}

// checkProgram refuses a program that cannot run alone in an image of the platform.
func checkProgram(file string, p v1.Platform) error {
	f, err := openProgram(file, p)
	if err != nil {
		return err
	}
	defer f.Close()
	libs, err := f.ImportedLibraries()
	if loader := interpreter(f); loader != "" || (err == nil && len(libs) > 0) {
		return fmt.Errorf("%s is linked dynamically and needs %s: build it statically (Go: CGO_ENABLED=0), or pack a folder that holds all it needs",
			file, strings.Join(append(nonEmpty(loader), libs...), ", "))
	}
	return nil
}

// openProgram opens an executable for the platform.
func openProgram(file string, p v1.Platform) (*elf.File, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read the program: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", file)
	}
	want, ok := machines()[p.Architecture]
	if p.OS != "linux" || !ok {
		return nil, fmt.Errorf("images for %s cannot be packed", image.PlatformText(p))
	}
	f, err := elf.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%s is no Linux program (ELF); for a script pack a folder that holds its interpreter too", file)
	}
	if f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		f.Close()
		return nil, fmt.Errorf("%s is no program that can be started, but ELF of the type %s", file, f.Type)
	}
	if f.Machine != want {
		f.Close()
		return nil, fmt.Errorf("%s is for %s and the image is for %s: build it for that platform, or give its own",
			file, architecture(f.Machine), image.PlatformText(p))
	}
	return f, nil
}

func architecture(m elf.Machine) string {
	for name, have := range machines() {
		if m == have {
			return "linux/" + name
		}
	}
	return m.String()
}

// interpreter is the loader that a dynamically linked program asks for.
func interpreter(f *elf.File) string {
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > 4096 {
			continue
		}
		buf := make([]byte, p.Filesz)
		if _, err := p.ReadAt(buf, 0); err == nil {
			return strings.TrimRight(string(buf), "\x00")
		}
	}
	return ""
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// checkEntrypoint looks at a folder's entrypoint, where it names a file of it.
func (c *Config) checkEntrypoint() error {
	if len(c.Entrypoint) == 0 || !path.IsAbs(c.Entrypoint[0]) {
		return nil
	}
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return fmt.Errorf("cannot read the folder: %w", err)
	}
	defer root.Close()
	name := strings.TrimPrefix(path.Clean(c.Entrypoint[0]), "/")
	info, err := root.Stat(name)
	if err != nil {
		return nil //nolint:nilerr // a layer may bring it, or a link lead to it
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("the entrypoint %s cannot be executed: it is no file or has no x permission", c.Entrypoint[0])
	}
	file := filepath.Join(c.Dir, filepath.FromSlash(name))
	if f, err := elf.Open(file); err != nil {
		return nil //nolint:nilerr // a script
	} else if f.Close(); c.Platform.OS != "linux" {
		return nil
	}
	f, err := openProgram(file, c.Platform)
	if err != nil {
		return err
	}
	defer f.Close()
	if loader := interpreter(f); loader != "" {
		if _, err := root.Stat(strings.TrimPrefix(loader, "/")); err != nil {
			return fmt.Errorf("the entrypoint %s needs %s, which the folder lacks: build it statically (Go: CGO_ENABLED=0), or add what it needs", c.Entrypoint[0], loader)
		}
	}
	return nil
}
