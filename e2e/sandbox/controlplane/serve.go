package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	cliflag "k8s.io/component-base/cli/flag"
	basecompat "k8s.io/component-base/compatibility"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apiserveroptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	controllermanageroptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

const (
	serviceRange   = "10.96.0.0/16"
	serviceAddress = "10.96.0.1" // the first of the range is the Service "kubernetes"
	readyPatience  = 120 * time.Second
	stopPatience   = 15 * time.Second
)

// controllers is what a world needs whose node agent renews no heartbeat.
//
// Left out on purpose: node-lifecycle, taint-eviction, node-ipam and pod-garbage-collector (they evict or delete
// the pods of a node that nobody heartbeats), the volume controllers, bootstrap tokens, cloud.
var controllers = strings.Join([]string{
	"namespace-controller", "garbage-collector-controller", "ttl-after-finished-controller",
	"deployment-controller", "replicaset-controller", "statefulset-controller", "daemonset-controller",
	"job-controller", "cronjob-controller", "replicationcontroller-controller",
	"endpoints-controller", "endpointslice-controller", "endpointslice-mirroring-controller",
	"serviceaccount-controller", "serviceaccount-token-controller", "root-ca-certificate-publisher-controller",
	"disruption-controller", "horizontal-pod-autoscaler-controller", "resourcequota-controller",
	"clusterrole-aggregation-controller", "validatingadmissionpolicy-status-controller",
	"certificatesigningrequest-signing-controller", "certificatesigningrequest-approving-controller",
}, ",")

// settings are the flags of `serve`.
type settings struct {
	dataDir, kubeconfig, assets string
	port                        int
	controllers                 bool
	apiserverArgs               []string
}

func parseSettings(args []string) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.StringVar(&s.dataDir, "data-dir", "", "where everything is kept (needed)")
	flags.StringVar(&s.kubeconfig, "kubeconfig", "", "where the administrator's kubeconfig is written (needed)")
	flags.IntVar(&s.port, "port", 0, "port of the API server on 127.0.0.1 (needed)")
	flags.StringVar(&s.assets, "assets", "", "folder with etcd and kube-apiserver to run in place of the built-in ones")
	flags.BoolVar(&s.controllers, "controllers", true, "run the controllers and the scheduler")
	flags.Func("apiserver-arg", "further kube-apiserver flag, may be repeated", func(value string) error {
		s.apiserverArgs = append(s.apiserverArgs, value)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	if s.dataDir == "" || s.kubeconfig == "" || s.port == 0 || flags.NArg() != 0 {
		return s, errors.New("--data-dir, --kubeconfig and --port are needed, and no other arguments")
	}
	var err error
	if s.kubeconfig, err = filepath.Abs(s.kubeconfig); err != nil {
		return s, err
	}
	s.dataDir, err = filepath.Abs(s.dataDir)
	return s, err
}

func (s settings) server() string { return fmt.Sprintf("https://127.0.0.1:%d", s.port) }

// options are the parsed command lines of the three components. All are made before any of them runs,
// because they share the feature gates of the process.
type options struct {
	apiserver         *apiserveroptions.ServerRunOptions
	controllerManager *controllermanageroptions.KubeControllerManagerOptions
	scheduler         *scheduleroptions.Options
}

// serve runs the control plane until SIGTERM or SIGINT, or until a component ends.
func serve(args []string) error {
	s, err := parseSettings(args)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.dataDir, 0o700); err != nil {
		return err
	}
	if err := os.Chdir(s.dataDir); err != nil {
		return err
	}
	if err := prepareFiles(s); err != nil {
		return err
	}
	opts, err := parseOptions(s)
	if err != nil {
		return err
	}
	defer logs.FlushLogs()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	return run(s, opts, signals)
}

func prepareFiles(s settings) error {
	if err := makePKI(pkiDir); err != nil {
		return err
	}
	for user, path := range map[string]string{
		"admin":              s.kubeconfig,
		"controller-manager": "controller-manager.kubeconfig",
		"scheduler":          "scheduler.kubeconfig",
	} {
		if err := writeKubeconfig(path, user, s.server()); err != nil {
			return err
		}
	}
	return nil
}

// run starts etcd, the API server, then what talks to it, and stops them in the reverse order.
func run(s settings, opts options, signals <-chan os.Signal) (failure error) {
	var stops []func()
	failures := make(chan error, 4)
	start := func(component func(context.Context) error) {
		ctx, cancel := context.WithCancel(context.Background())
		var done sync.WaitGroup
		done.Add(1)
		go func() {
			defer done.Done()
			if err := component(ctx); ctx.Err() == nil {
				failures <- err
			}
		}()
		stops = append(stops, func() { cancel(); done.Wait() })
	}
	defer func() {
		go exitHard(signals)
		for i := len(stops) - 1; i >= 0; i-- {
			stops[i]()
		}
	}()

	if s.assets != "" {
		start(func(ctx context.Context) error { return runEtcdFrom(ctx, s.assets) })
		start(func(ctx context.Context) error {
			return runChild(ctx, exec.Command(filepath.Join(s.assets, "kube-apiserver"), apiserverArgs(s)...))
		})
	} else {
		stopEtcd, err := startEtcd()
		if err != nil {
			return err
		}
		stops = append(stops, stopEtcd)
		start(opts.runAPIServer)
	}
	if stopped, err := waitReady(s.server(), failures, signals); stopped || err != nil {
		return err
	}
	fmt.Printf("the API server is ready at %s\n", s.server())
	if s.controllers {
		start(opts.runControllerManager)
		start(opts.runScheduler)
	}
	select {
	case <-signals:
		return nil
	case err := <-failures:
		return err
	}
}

// exitHard ends a stop that takes too long, or that is asked for twice.
func exitHard(signals <-chan os.Signal) {
	select {
	case <-signals:
	case <-time.After(stopPatience):
		fmt.Fprintf(os.Stderr, "controlplane: did not stop in %v\n", stopPatience)
	}
	os.Exit(1)
}

func apiserverArgs(s settings) []string {
	return append([]string{
		"--etcd-servers=" + etcdEndpoint,
		"--bind-address=127.0.0.1", "--secure-port=" + strconv.Itoa(s.port),
		"--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none", // EndpointSlices refuse loopback
		"--cert-dir=" + pkiDir, "--tls-cert-file=" + crt("apiserver"), "--tls-private-key-file=" + key("apiserver"),
		"--client-ca-file=" + crt("ca"),
		"--requestheader-client-ca-file=" + crt("front-proxy-ca"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + crt("front-proxy-client"), "--proxy-client-key-file=" + key("front-proxy-client"),
		"--kubelet-client-certificate=" + crt("apiserver-kubelet-client"),
		"--kubelet-client-key=" + key("apiserver-kubelet-client"),
		"--kubelet-preferred-address-types=InternalIP,Hostname",
		"--service-account-key-file=" + serviceAccountPublicKey,
		"--service-account-signing-key-file=" + key("service-account"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-cluster-ip-range=" + serviceRange,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true", "--profiling=false",
		"--enable-aggregator-routing=true", // webhooks are called at endpoint addresses: there is no kube-proxy
	}, s.apiserverArgs...)
}

func parseOptions(s settings) (options, error) {
	o := options{apiserver: apiserveroptions.NewServerRunOptions(), scheduler: scheduleroptions.NewOptions()}
	var err error
	if o.controllerManager, err = controllermanageroptions.NewKubeControllerManagerOptions(); err != nil {
		return o, err
	}
	if err := parse("kube-apiserver", o.apiserver.Flags(), apiserverArgs(s)); err != nil {
		return o, err
	}
	if err := parse("kube-controller-manager", o.controllerManager.Flags(controllermanager.KnownControllers(),
		controllermanager.ControllersDisabledByDefault(), controllermanager.ControllerAliases()), []string{
		"--kubeconfig=controller-manager.kubeconfig", "--secure-port=0", "--leader-elect=false", "--profiling=false",
		"--controllers=" + controllers, "--use-service-account-credentials=true",
		"--service-account-private-key-file=" + key("service-account"), "--root-ca-file=" + crt("ca"),
		"--cluster-signing-cert-file=" + crt("ca"), "--cluster-signing-key-file=" + key("ca"),
		"--kube-api-qps=200", "--kube-api-burst=400",
	}); err != nil {
		return o, err
	}
	if err := parse("kube-scheduler", *o.scheduler.Flags, []string{
		"--kubeconfig=scheduler.kubeconfig", "--secure-port=0", "--leader-elect=false",
	}); err != nil {
		return o, err
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	logs.InitLogs()
	registry := o.apiserver.GenericServerRunOptions.ComponentGlobalsRegistry
	if err := registry.Set(); err != nil {
		return o, err
	}
	return o, logsapi.ValidateAndApply(o.apiserver.Logs, registry.FeatureGateFor(basecompat.DefaultKubeComponent))
}

// parse reads args into the option structs behind the flags. Upstream's commands would do that too, but each
// of them takes over the signals of the process, and the second one panics.
func parse(name string, sections cliflag.NamedFlagSets, args []string) error {
	flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
	flags.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	for _, section := range sections.FlagSets {
		flags.AddFlagSet(section)
	}
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (o options) runAPIServer(ctx context.Context) error {
	completed, err := o.apiserver.Complete(ctx)
	if err == nil {
		err = errors.Join(completed.Validate()...)
	}
	if err == nil {
		err = apiserver.Run(ctx, completed)
	}
	return fmt.Errorf("kube-apiserver ended: %w", exitReason(err))
}

func (o options) runControllerManager(ctx context.Context) error {
	config, err := o.controllerManager.Config(ctx, controllermanager.KnownControllers(),
		controllermanager.ControllersDisabledByDefault(), controllermanager.ControllerAliases())
	if err == nil {
		err = controllermanager.Run(ctx, config.Complete())
	}
	return fmt.Errorf("kube-controller-manager ended: %w", exitReason(err))
}

func (o options) runScheduler(ctx context.Context) error {
	config, instance, err := scheduler.Setup(ctx, o.scheduler)
	if err == nil {
		err = scheduler.Run(ctx, config, instance)
	}
	return fmt.Errorf("kube-scheduler ended: %w", exitReason(err))
}

// waitReady polls /readyz. It says whether a signal ended the wait.
func waitReady(server string, failures <-chan error, signals <-chan os.Signal) (stopped bool, err error) {
	client, err := adminClient()
	if err != nil {
		return false, err
	}
	defer client.CloseIdleConnections()
	deadline := time.After(readyPatience)
	for {
		if response, err := client.Get(server + "/readyz"); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return false, nil
			}
		}
		select {
		case err := <-failures:
			return false, err
		case <-signals:
			return true, nil
		case <-deadline:
			return false, fmt.Errorf("the API server was not ready in %v", readyPatience)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func adminClient() (*http.Client, error) {
	authority, err := os.ReadFile(crt("ca"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	certificate, err := tls.LoadX509KeyPair(crt("admin"), key("admin"))
	if err != nil {
		return nil, err
	}
	return &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{certificate}},
	}}, nil
}
