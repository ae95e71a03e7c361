//go:build race

package filter

// raced: the race detector empties the pools of the regexp package at random.
const raced = true
