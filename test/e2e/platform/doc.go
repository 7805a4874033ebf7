// Package platform is the main job from a clean home: four clusters, the
// pipeline with its verified result, down and up, and a loss of power.
package platform
