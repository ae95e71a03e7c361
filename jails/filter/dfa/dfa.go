// Package dfa finds which of many regexes matches a line first, and where its groups are.
//
// All regexes of a Set become one automaton that reads a line once, from its start, a table
// look-up a byte, and stops where no regex can match any more; most lines of a log end
// that way after their first words. What it says is what Go's regexp would say of each regex
// in turn: the same verdict and the same groups, for lines of any bytes.
//
// compile.go makes the program: the instructions of all regexes in one list, as a nondeterministic
// automaton, and the classes of characters that no instruction tells apart. A regex that
// may begin anywhere gets a loop over any character in front, so that all are anchored.
//
// place.go puts what package regexp has not, look-ahead above all, into the program of one regex: each
// instruction together with how far the texts have come that must follow, or must not. Nothing else
// in the room knows of it, but that the match of such a regex may end before it is known.
//
// build.go makes it deterministic. A state is the list of the instructions that wait for
// the next character, of all regexes, in the order in which Go would try them: a regex before the
// next one, what its alternatives and loops prefer before the rest. Behind an instruction that
// matches the list is cut: what stands there can only lose. States are built when a line
// first needs them and kept in a table, a row a state, a column a class of characters. The
// table has a limit; when it is full, all states are thrown away and the line goes on from
// the one it is in. Each reader has a Machine of its own with such a table.
//
// match.go is the loop. Characters beyond ASCII are decoded first: the automaton reads
// characters, not bytes, so that what is not UTF-8 is what it is to regexp, U+FFFD and one
// byte long.
//
// leap.go reads eight bytes at once: words that were read before in the same state, as most of
// what daemons write, and runs of characters that keep the state, as .* has them.
//
// groups.go finds where the groups of a match begin and end, without a capture engine: the loop
// leaves a trail of the steps that it made. Going back from the end, each instruction
// on a state's list comes from exactly one on the list before, the first in order that
// leads to it, and where the way crosses a group's bracket the group begins or ends. A run that
// was skipped is skipped once more where the instruction comes from itself. It
// goes back no further than asked: an address near the line's end costs a few bytes. Only a
// line during which the states were thrown away is left to package regexp.
//
// The text followed is Russ Cox, "Regular Expression Matching: the Virtual Machine Approach"
// (2009) for threads in order, and "Regular Expression Matching in the Wild" (2010) for the lazy
// DFA with a bounded table, as in RE2; https://swtch.com/~rsc/regexp/. Going back over the
// recorded states is in the spirit of Dubé and Feeley, "Efficiently Building a Parse Tree From a
// Regular Expression" (2000); what place.go makes is the automaton of Chandra, Kozen and Stockmeyer,
// "Alternation" (1981), for conditions that all have to hold at once.
package dfa
