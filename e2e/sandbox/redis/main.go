// Redis in memory on one address, for programs that only keep a cache in it.
//
// It forgets everything when it ends.
package main

import (
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// How far expiries move at a time: miniredis has no clock for them.
const tick = time.Second

func main() {
	address := flag.String("address", "127.0.0.1:6379", "host and port to listen on")
	flag.Parse()

	server := miniredis.NewMiniRedis()
	if err := server.StartAddr(*address); err != nil {
		log.Fatalf("cannot listen on %s: %v", *address, err)
	}
	defer server.Close()

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	clock := time.NewTicker(tick)
	defer clock.Stop()
	for {
		select {
		case <-clock.C:
			server.FastForward(tick)
		case <-stop:
			return
		}
	}
}
