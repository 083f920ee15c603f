package main

import (
	"context"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

const (
	// The process works in its data directory, so this socket's path is short (a Unix socket's path must be),
	// and only the owner of that directory can reach the store.
	etcdSocket   = "etcd.sock"
	etcdEndpoint = "unix://" + etcdSocket
	etcdPatience = 30 * time.Second
)

// startEtcd runs the one member in this process and returns what stops it.
//
// Nothing is synced to disk: a crash of the machine can lose the world, a kill cannot.
func startEtcd() (stop func(), err error) {
	config := embed.NewConfig()
	config.Name = "world"
	config.Dir = "etcd"
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, err
	}
	config.LogLevel = "error"
	config.UnsafeNoFsync = true
	config.AutoCompactionMode = "periodic"
	config.AutoCompactionRetention = "0" // the API server compacts by itself, every 5 minutes
	config.SnapshotCount = 10000
	config.QuotaBackendBytes = 2 << 30
	config.TickMs, config.ElectionMs = 10, 100 // alone, it may elect itself at once
	config.InitialElectionTickAdvance = true
	config.ListenPeerUrls = nil // one member needs no peers; the addresses below are only names
	config.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:2380"}}
	config.AdvertiseClientUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:2379"}}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	if err := os.RemoveAll(etcdSocket); err != nil {
		return nil, err
	}
	config.ListenClientUrls = []url.URL{{Scheme: "unix", Host: etcdSocket}}
	server, err := embed.StartEtcd(config)
	if err != nil {
		return nil, err
	}
	select {
	case <-server.Server.ReadyNotify():
		return server.Close, nil
	case err := <-server.Err():
		return nil, err
	case <-time.After(etcdPatience):
		return nil, errors.New("etcd did not become ready")
	}
}

// runEtcdFrom runs the etcd binary of a KUBEBUILDER_ASSETS folder until ctx ends.
// It is ready when the API server can talk to it, which the API server waits for by itself.
func runEtcdFrom(ctx context.Context, assets string) error {
	if err := os.RemoveAll(etcdSocket); err != nil {
		return err
	}
	return runChild(ctx, exec.Command(filepath.Join(assets, "etcd"),
		"--name=world", "--data-dir=etcd", "--log-level=error", "--unsafe-no-fsync",
		"--heartbeat-interval=10", "--election-timeout=100",
		"--listen-client-urls="+etcdEndpoint, "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=unix://etcd-peer.sock", "--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=world=http://127.0.0.1:2380"))
}
