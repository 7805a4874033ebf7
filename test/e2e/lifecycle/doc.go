// Package lifecycle changes clusters while they hold data and run jobs: apply
// again, resize, configure, delete, two compute clusters on one warehouse.
package lifecycle
