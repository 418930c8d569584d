// A service that answers /users/{id} over TLS, and a program that asks it, without any instrumentation:
//
//	users serve ADDRESS KEY CERTIFICATE [AUTHORITY-OF-CLIENTS]
//	users ask SERVER AUTHORITY FIRST COUNT IN-FLIGHT BEGIN [KEY CERTIFICATE]
//
// Until the file BEGIN exists, user 0 is asked again and again, each time by a new connection.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

func main() {
	if os.Args[1] == "serve" {
		log.Fatal(serve(os.Args[2:]))
	}
	if err := askAll(os.Args[2:]); err != nil {
		log.Fatal(err)
	}
}

func serve(args []string) error {
	server := &http.Server{Addr: args[0], Handler: http.HandlerFunc(answer)}
	if len(args) > 3 {
		pool, err := authorities(args[3])
		if err != nil {
			return err
		}
		server.TLSConfig = &tls.Config{ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	}
	return server.ListenAndServeTLS(args[2], args[1])
}

func answer(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/users/") {
		w.WriteHeader(http.StatusNotFound)
	}
	fmt.Fprint(w, "found")
}

func authorities(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return pool, nil
}

func askAll(args []string) error {
	pool, err := authorities(args[1])
	if err != nil {
		return err
	}
	config := &tls.Config{RootCAs: pool}
	if len(args) > 7 {
		certificate, err := tls.LoadX509KeyPair(args[7], args[6])
		if err != nil {
			return err
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	first, inFlight := number(args[2]), number(args[4])
	open := func() *http.Client {
		transport := &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: inFlight}
		transport.ForceAttemptHTTP2 = os.Getenv("HTTP2") != ""
		return &http.Client{Transport: transport}
	}
	for {
		if _, err := os.Stat(args[5]); err == nil {
			break
		}
		client := open()
		if err := ask(client, args[0], 0); err != nil {
			return err
		}
		client.CloseIdleConnections()
		time.Sleep(50 * time.Millisecond)
	}
	client := open()
	users := make(chan int)
	failures := make(chan error, inFlight)
	var workers sync.WaitGroup
	for range make([]struct{}, inFlight) {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for user := range users {
				if err := ask(client, args[0], user); err != nil {
					failures <- err
					return
				}
			}
		}()
	}
	for user := first; user < first+number(args[3]); user++ {
		users <- user
	}
	close(users)
	workers.Wait()
	close(failures)
	return <-failures
}

func number(text string) int {
	number, err := strconv.Atoi(text)
	if err != nil {
		log.Fatal(err)
	}
	return number
}

func ask(client *http.Client, server string, user int) error {
	response, err := client.Get(fmt.Sprintf("%s/users/%d", server, user))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("user %d: %s", user, response.Status)
	}
	return nil
}
