package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// All paths are relative to the data directory.
const (
	pkiDir                  = "pki"
	serviceAccountPublicKey = pkiDir + "/service-account.pub"
	validity                = 10 * 365 * 24 * time.Hour
)

func crt(name string) string { return filepath.Join(pkiDir, name+".crt") }
func key(name string) string { return filepath.Join(pkiDir, name+".key") }

// authority is a certificate that signs others, with its key.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// makePKI creates every key and certificate once; a later start on the same directory keeps them.
// The folder appears as a whole, so a start that is killed here leaves nothing half made.
func makePKI(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	unfinished := dir + ".new"
	if err := os.RemoveAll(unfinished); err != nil {
		return err
	}
	if err := os.MkdirAll(unfinished, 0o700); err != nil {
		return err
	}
	if err := fillPKI(unfinished); err != nil {
		return err
	}
	return os.Rename(unfinished, dir)
}

func fillPKI(dir string) error {
	ca, err := issue(dir, "ca", nil, authorityTemplate("world-ca"))
	if err != nil {
		return err
	}
	frontProxyCA, err := issue(dir, "front-proxy-ca", nil, authorityTemplate("world-front-proxy-ca"))
	if err != nil {
		return err
	}
	hosts := []string{
		"127.0.0.1", "::1", serviceAddress, "localhost", "kubernetes", "kubernetes.default",
		"kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
	}
	for _, leaf := range []struct {
		name     string
		signer   *authority
		template *x509.Certificate
	}{
		{"apiserver", ca, servingTemplate("kube-apiserver", hosts)},
		{"front-proxy-client", frontProxyCA, clientTemplate("front-proxy-client")},
		{"apiserver-kubelet-client", ca, clientTemplate("kube-apiserver-kubelet-client", "system:masters")},
		{"admin", ca, clientTemplate("kubernetes-admin", "system:masters")},
		{"controller-manager", ca, clientTemplate("system:kube-controller-manager")},
		{"scheduler", ca, clientTemplate("system:kube-scheduler")},
	} {
		if _, err := issue(dir, leaf.name, leaf.signer, leaf.template); err != nil {
			return err
		}
	}
	return makeServiceAccountKeys(dir)
}

func makeServiceAccountKeys(dir string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if err := writeKey(filepath.Join(dir, "service-account.key"), private); err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, "service-account.pub"), "PUBLIC KEY", public, 0o644)
}

// certificate issues a serving certificate as tls.crt and tls.key, signed by the CA of a world.
func certificate(args []string) error {
	flags := flag.NewFlagSet("certificate", flag.ContinueOnError)
	dataDir := flags.String("data-dir", "", "data directory of the control plane (needed)")
	out := flags.String("out", "", "folder to write tls.crt and tls.key to (needed)")
	hosts := flags.String("hosts", "127.0.0.1,localhost", "names and addresses it is valid for")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *dataDir == "" || *out == "" || flags.NArg() != 0 {
		return errors.New("--data-dir and --out are needed, and no other arguments")
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(*dataDir, crt("ca")), filepath.Join(*dataDir, key("ca")))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*out, 0o700); err != nil {
		return err
	}
	signer := &authority{pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)}
	_, err = issue(*out, "tls", signer, servingTemplate("webhook", strings.Split(*hosts, ",")))
	return err
}

// issue makes a key and a certificate signed by signer (by itself when signer is nil).
func issue(dir, name string, signer *authority, template *x509.Certificate) (*authority, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, err
	}
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(validity)
	template.BasicConstraintsValid = true
	parent, signingKey := template, private
	if signer != nil {
		parent, signingKey = signer.certificate, signer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &private.PublicKey, signingKey)
	if err != nil {
		return nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if err := writeKey(filepath.Join(dir, name+".key"), private); err != nil {
		return nil, err
	}
	return &authority{certificate, private}, writePEM(filepath.Join(dir, name+".crt"), "CERTIFICATE", der, 0o644)
}

func authorityTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
}

func clientTemplate(name string, organizations ...string) *x509.Certificate {
	return &x509.Certificate{
		Subject:  pkix.Name{CommonName: name, Organization: organizations},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

func servingTemplate(name string, hosts []string) *x509.Certificate {
	template := &x509.Certificate{
		Subject:  pkix.Name{CommonName: name},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return template
}

func writeKey(path string, private *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return err
	}
	return writePEM(path, "EC PRIVATE KEY", der, 0o600)
}

func writePEM(path, kind string, der []byte, mode fs.FileMode) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}

// writeKubeconfig writes the login of user to path, atomically: readers may wait for the file to appear.
func writeKubeconfig(path, user, server string) error {
	var encoded []any
	for _, file := range []string{crt("ca"), crt(user), key(user)} {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		encoded = append(encoded, base64.StdEncoding.EncodeToString(content))
	}
	body := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: headgate-sandbox
  cluster: {server: %[1]q, certificate-authority-data: %[3]s}
users:
- name: %[2]s
  user: {client-certificate-data: %[4]s, client-key-data: %[5]s}
contexts:
- name: headgate-sandbox
  context: {cluster: headgate-sandbox, user: %[2]s}
current-context: headgate-sandbox
`, append([]any{server, user}, encoded...)...)
	unfinished := path + ".new"
	if err := os.WriteFile(unfinished, []byte(body), 0o600); err != nil {
		return err
	}
	return os.Rename(unfinished, path)
}
