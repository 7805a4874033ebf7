// Package image owns what every part of Howdah that handles container images must
// agree on: which names are safe, how large a manifest may be, what a manifest
// refers to, and which platform an image is for. It reads bytes and returns values.
//
// It must not know where images are kept (imagestore), how they travel (registry,
// pull, archive), how they are made (pack) or how they become folders (unpack).
package image
