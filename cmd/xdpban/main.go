// Command xdpban reads logs, recognises attackers and drops their packets in the kernel.
package main

import "os"

// version is set by the linker, see Makefile.
var version = "unknown"

func main() {
	p := &program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Getenv}
	os.Exit(p.run(os.Args[1:]))
}
