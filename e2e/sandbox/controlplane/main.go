// Command controlplane is the control plane of the embedded world in one binary.
//
//	controlplane serve --data-dir D [flags]         etcd, API server, controllers and scheduler in this process
//	controlplane certificate --data-dir D --out O   a serving certificate for a webhook, signed by the world's CA
//	controlplane kubectl ...                        kubectl, kustomize included
//
// It knows nothing of KServe, gateways or Headgate: those are other parts.
package main

import (
	"fmt"
	"os"
	_ "time/tzdata" // CronJobs name time zones, and the machine may have none

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
)

const usage = "usage: controlplane serve|certificate|kubectl [flags]"

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	command := os.Args[1]
	os.Args = append([]string{command}, os.Args[2:]...)
	var err error
	switch command {
	case "serve":
		err = serve(os.Args[1:])
	case "certificate":
		err = certificate(os.Args[1:])
	case "kubectl":
		runKubectl()
	default:
		fmt.Fprintf(os.Stderr, "controlplane: unknown command %q\n%s\n", command, usage)
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "controlplane: error: %v\n", err)
		os.Exit(1)
	}
}

func runKubectl() {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err) // prints as kubectl does, and exits
	}
}
