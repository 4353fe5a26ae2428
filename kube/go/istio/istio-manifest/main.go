// Command istio-manifest prints the output of `istioctl manifest generate` for
// IstioOperator files, with Istio's own code and charts, away from any cluster.
package main

import (
	"fmt"
	"os"

	"istio.io/istio/operator/pkg/render"
)

func main() {
	sets, _, err := render.GenerateManifest(os.Args[1:], nil, false, nil, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, set := range sets {
		for _, manifest := range set.Manifests {
			fmt.Printf("---\n%s\n", manifest.Content)
		}
	}
}
