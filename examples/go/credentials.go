package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	secure "google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// credentials says how to connect, by the files that the environment names.
func credentials() ([]grpc.DialOption, error) {
	alive := grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second})
	ca, cert, key, token := os.Getenv("CLIENT_TLS_CA"), os.Getenv("CLIENT_TLS_CERT"), os.Getenv("CLIENT_TLS_KEY"), os.Getenv("CLIENT_TOKEN_FILE")
	if ca+cert+key+token == "" {
		return []grpc.DialOption{alive, grpc.WithInsecure()}, nil
	}
	config := &tls.Config{}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New(ca + " has no certificate")
		}
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	options := []grpc.DialOption{alive, grpc.WithTransportCredentials(secure.NewTLS(config))}
	if token != "" {
		options = append(options, grpc.WithPerRPCCredentials(tokenFile(token)))
	}
	return options, nil
}

// tokenFile is read for every call: whoever renews the token only has to write it there.
type tokenFile string

func (file tokenFile) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	token, err := os.ReadFile(string(file))
	return map[string]string{"authorization": "Bearer " + strings.TrimSpace(string(token))}, err
}

func (tokenFile) RequireTransportSecurity() bool { return true }
