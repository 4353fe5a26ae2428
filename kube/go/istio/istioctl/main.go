// Command istioctl is the one of Istio, unchanged.
package main

import (
	"os"

	"istio.io/istio/istioctl/cmd"
)

func main() {
	if err := cmd.GetRootCmd(os.Args[1:]).Execute(); err != nil {
		os.Exit(cmd.GetExitCode(err))
	}
}
