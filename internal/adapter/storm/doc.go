// Package storm talks to the nimbus of a Storm cluster over Thrift (framed
// transport, binary protocol, no SASL) and builds the jar a Flux topology is
// submitted with. It serves the REST API of Storm's UI from what nimbus answers.
// It owns the wire format: no generated type leaves it. It decides nothing about
// clusters and imports nothing of Howdah.
//
// The calls were checked against nimbus 2.8.3.
package storm

// Debian's thrift-compiler 0.17 made the committed code; it works with the
// runtime library 0.25.
//go:generate thrift --gen go:package_prefix=howdah.dev/howdah/internal/adapter/storm/,skip_remote -out . nimbus.thrift
//go:generate gofmt -w nimbusthrift
