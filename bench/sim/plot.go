package main

import (
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"text/template"

	"howdah.dev/howdah/bench/report"
)

// curve is a figure over the number of nodes.
type curve struct {
	Title  string
	Left   float64 // of its frame
	Points []point
}

// point is a median: where it is in the frame, and what it says.
type point struct {
	X, Y         float64
	Nodes, Value string
}

// The frame of a curve in the drawing.
const (
	frameWidth, frameHeight = 300.0, 150.0
	frameTop                = 50.0
	frameLeft, frameApart   = 50.0, 390.0
)

// plot draws what each node costs over the number of nodes, which is a level line where
// the whole grows with them and no faster.
func plot(path string, figures report.Figures) error {
	var sizes []int
	for n := range goals {
		sizes = append(sizes, n)
	}
	slices.Sort(sizes)
	var curves []curve
	for i, c := range []struct {
		title  string
		figure func(int) string
		each   func(value float64, nodes int) float64
	}{
		{"create: ms for each node", each, func(v float64, _ int) float64 { return v }},
		{"peak memory: KiB for each node", peakOf, func(v float64, nodes int) float64 { return v * 1024 / float64(nodes) }},
	} {
		var values []float64
		for _, n := range sizes {
			k := slices.IndexFunc(figures, func(f report.Figure) bool { return f.Name == c.figure(n) })
			if k < 0 {
				return errors.New("a plot needs all sizes; ask for all of them")
			}
			values = append(values, c.each(report.Median(figures[k].Rounds), n))
		}
		curves = append(curves, draw(c.title, frameLeft+float64(i)*frameApart, sizes, values))
	}
	var text strings.Builder
	if err := drawing.Execute(&text, curves); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text.String()), 0o644)
}

// draw places values over sizes: those by their logarithm, values from 0 up.
func draw(title string, left float64, sizes []int, values []float64) curve {
	c := curve{Title: title, Left: left}
	least, most := math.Log(float64(sizes[0])), math.Log(float64(sizes[len(sizes)-1]))
	for i, n := range sizes {
		c.Points = append(c.Points, point{
			X:     math.Round(left + frameWidth*(math.Log(float64(n))-least)/(most-least)),
			Y:     math.Round(frameTop + frameHeight*(1-values[i]/(1.2*slices.Max(values)))),
			Nodes: report.Number(float64(n)), Value: report.Number(values[i]),
		})
	}
	return c
}

var drawing = template.Must(template.New("").Parse(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 780 250" role="img" aria-labelledby="t d" font-family="system-ui, sans-serif" font-size="14">
  <title id="t">What each node costs, over the number of nodes of a cluster</title>
  <desc id="d">{{range .}}{{.Title}}:{{range .Points}} {{.Value}} at {{.Nodes}} nodes;{{end}} {{end}}</desc>
  <style>
    .word { fill: #1f2328 }
    .note { fill: #57606a; font-size: 12px; text-anchor: middle }
    .axis { stroke: #8c959f }
    .line { stroke: #1d4ed8; stroke-width: 2; fill: none }
    .dot { fill: #1d4ed8 }
    @media (prefers-color-scheme: dark) {
      .word { fill: #f0f6fc }
      .note { fill: #b1bac4 }
      .axis { stroke: #6e7681 }
      .line { stroke: #79c0ff }
      .dot { fill: #79c0ff }
    }
  </style>
{{- range .}}
  <text class="word" x="{{.Left}}" y="25">{{.Title}}</text>
  <path class="axis" d="M{{.Left}} 200h300"/>
  <polyline class="line" points="{{range .Points}}{{.X}},{{.Y}} {{end}}"/>
{{- range .Points}}
  <circle class="dot" cx="{{.X}}" cy="{{.Y}}" r="4"/>
  <text class="note" x="{{.X}}" y="{{.Y}}" dy="-10">{{.Value}}</text>
  <text class="note" x="{{.X}}" y="218">{{.Nodes}}</text>
{{- end}}
{{- end}}
  <text class="note" x="390" y="242">nodes</text>
</svg>
`))
