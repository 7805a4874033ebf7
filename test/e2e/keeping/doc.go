// Package keeping tries what an operator keeps an installation with: upgrade,
// backup and restore, and what is sent to those who help. It holds no code
// beside its tests.
package keeping
