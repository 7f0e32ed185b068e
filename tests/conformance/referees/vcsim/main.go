// Command vcsim serves govmomi's simulator over TLS with a given certificate, says where in one line of JSON, and ends
// when its standard input does, so that it never outlives the test that started it.
package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net/url"
	"os"

	"github.com/vmware/govmomi/simulator"
)

func main() {
	certificate := flag.String("cert", "", "PEM file with the certificate chain")
	key := flag.String("key", "", "PEM file with the private key")
	version := flag.String("api-version", "8.0.3.0", "version of the API to offer")
	hosts := flag.Int("hosts", 3, "hosts in the one cluster")
	vms := flag.Int("vms", 4, "virtual machines in the cluster")
	flag.Parse()

	model := simulator.VPX()
	model.Host = 0
	model.ClusterHost = *hosts
	model.Machine = *vms
	model.ServiceContent.About.ApiVersion = *version
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}

	pair, err := tls.LoadX509KeyPair(*certificate, *key)
	if err != nil {
		log.Fatal(err)
	}
	model.Service.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	model.Service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword("user", "pass")}
	server := model.Service.NewServer()

	where := *server.URL
	where.User = nil
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"url": where.String()}); err != nil {
		log.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	model.Remove() // but no Close of the server: that would wait for every client to hang up
	os.Exit(0)
}
