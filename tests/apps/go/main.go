// A Go service without any instrumentation: net/http server and client, pgx and database/sql.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"

	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib"
)

type service struct {
	pool     *pgxpool.Pool
	standard *sql.DB
	upstream string
}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address to serve on")
	database := flag.String("database", "", "URL of the database; none by default")
	upstream := flag.String("upstream", "", "base URL that /relay asks; none by default")
	key := flag.String("key", "", "key of the certificate; without TLS by default")
	certificate := flag.String("certificate", "", "certificate to serve with")
	flag.Parse()

	s := &service{upstream: *upstream}
	if *database != "" {
		if err := s.open(*database); err != nil {
			log.Fatalf("open %s: %v", *database, err)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	mux.HandleFunc("GET /plain", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "Hello, world!") })
	mux.HandleFunc("GET /users/{id}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "found") })
	mux.HandleFunc("GET /items/{id}", s.item)
	mux.HandleFunc("GET /standard/{id}", s.itemByStandardLibrary)
	mux.HandleFunc("GET /elsewhere/{id}", s.itemInAnotherGoroutine)
	mux.HandleFunc("GET /relay/{id}", s.relay)
	mux.HandleFunc("GET /broken", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "this endpoint always fails", http.StatusInternalServerError)
	})
	if *certificate != "" {
		log.Fatal(http.ListenAndServeTLS(*listen, *certificate, *key, mux))
	}
	log.Fatal(http.ListenAndServe(*listen, mux))
}

func (s *service) open(url string) error {
	pool, err := pgxpool.New(context.Background(), url)
	if err != nil {
		return err
	}
	standard, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	s.pool, s.standard = pool, standard
	return pool.Ping(context.Background())
}

// statement carries the number in the column's name, where removing literals leaves it alone.
func statement(id int64) string {
	return fmt.Sprintf("SELECT name AS id_%d FROM items WHERE id = $1", id)
}

func (s *service) item(w http.ResponseWriter, r *http.Request) {
	id, ok := number(w, r)
	if !ok {
		return
	}
	name, err := s.load(r.Context(), id)
	answer(w, id, name, err)
}

// itemInAnotherGoroutine queries from a goroutine that the handler starts.
func (s *service) itemInAnotherGoroutine(w http.ResponseWriter, r *http.Request) {
	id, ok := number(w, r)
	if !ok {
		return
	}
	type result struct {
		name string
		err  error
	}
	results := make(chan result)
	go func() {
		name, err := s.load(r.Context(), id)
		results <- result{name, err}
	}()
	found := <-results
	answer(w, id, found.name, found.err)
}

func (s *service) itemByStandardLibrary(w http.ResponseWriter, r *http.Request) {
	id, ok := number(w, r)
	if !ok {
		return
	}
	var name string
	err := s.standard.QueryRowContext(r.Context(), "SELECT name FROM items WHERE id = $1", id).Scan(&name)
	answer(w, id, name, err)
}

func (s *service) load(ctx context.Context, id int64) (name string, err error) {
	err = s.pool.QueryRow(ctx, statement(id), id).Scan(&name)
	return name, err
}

func (s *service) relay(w http.ResponseWriter, r *http.Request) {
	request, err := http.NewRequestWithContext(r.Context(), "GET", s.upstream+"/users/"+r.PathValue("id"), nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer response.Body.Close()
	w.WriteHeader(response.StatusCode)
	io.Copy(w, response.Body)
}

func number(w http.ResponseWriter, r *http.Request) (int64, bool) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
	return id, err == nil
}

func answer(w http.ResponseWriter, id int64, name string, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"id": id, "name": name})
}
