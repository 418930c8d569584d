// One program for the Go frameworks: -framework chooses the router, -database the driver.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/gorilla/mux"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"
	_ "github.com/lib/pq"
	"github.com/redis/go-redis/v9"
)

// items is what a handler needs.
type items struct {
	downURL string
	client  *http.Client
	cache   *redis.Client
	// name returns an item's name.
	name func(ctx context.Context, id int64) (string, error)
}

type answer struct {
	ID     int64           `json:"id"`
	Down   json.RawMessage `json:"down"`
	Name   string          `json:"name"`
	Cached string          `json:"cached"`
}

func (s *items) down(ctx context.Context, id int64) (json.RawMessage, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/down/%d", s.downURL, id), nil)
	if err != nil {
		return nil, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

func (s *items) cached(ctx context.Context, id int64) (string, error) {
	value, err := s.cache.Get(ctx, fmt.Sprintf("item:%d", id)).Result()
	if err == redis.Nil {
		return "", nil
	}
	return value, err
}

func pause() {
	time.Sleep(time.Millisecond + time.Duration(rand.Int63n(int64(4*time.Millisecond))))
}

func (s *items) sequential(ctx context.Context, id int64, between func()) (*answer, error) {
	down, err := s.down(ctx, id)
	if err != nil {
		return nil, err
	}
	between()
	name, err := s.name(ctx, id)
	if err != nil {
		return nil, err
	}
	between()
	cached, err := s.cached(ctx, id)
	if err != nil {
		return nil, err
	}
	return &answer{ID: id, Down: down, Name: name, Cached: cached}, nil
}

func (s *items) work(ctx context.Context, id int64) (*answer, error) {
	return s.sequential(ctx, id, pause)
}

func (s *items) straight(ctx context.Context, id int64) (*answer, error) {
	return s.sequential(ctx, id, func() {})
}

func (s *items) fan(ctx context.Context, id int64) (*answer, error) {
	result := &answer{ID: id}
	errors := make([]error, 3)
	var group sync.WaitGroup
	group.Add(3)
	go func() {
		defer group.Done()
		result.Down, errors[0] = s.down(ctx, id)
	}()
	go func() {
		defer group.Done()
		result.Name, errors[1] = s.name(ctx, id)
	}()
	go func() {
		defer group.Done()
		result.Cached, errors[2] = s.cached(ctx, id)
	}()
	group.Wait()
	for _, err := range errors {
		if err != nil {
			return nil, err
		}
	}
	return result, nil
}

type handler func(ctx context.Context, id int64) (*answer, error)

func (s *items) routes() map[string]handler {
	return map[string]handler{"paced": s.work, "await": s.straight, "fan": s.fan}
}

func answerTo(writer http.ResponseWriter, request *http.Request, text string, handle handler) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	result, err := handle(request.Context(), id)
	if err != nil {
		http.Error(writer, err.Error(), http.StatusInternalServerError)
		return
	}
	writer.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(writer).Encode(result); err != nil {
		log.Print(err)
	}
}

func healthz(writer http.ResponseWriter, _ *http.Request) {
	fmt.Fprint(writer, "ok")
}

func standard(s *items) http.Handler {
	router := http.NewServeMux()
	router.HandleFunc("GET /healthz", healthz)
	for name, handle := range s.routes() {
		handle := handle
		router.HandleFunc("GET /"+name+"/{id}", func(writer http.ResponseWriter, request *http.Request) {
			answerTo(writer, request, request.PathValue("id"), handle)
		})
	}
	return router
}

func gorilla(s *items) http.Handler {
	router := mux.NewRouter()
	router.HandleFunc("/healthz", healthz)
	for name, handle := range s.routes() {
		handle := handle
		router.HandleFunc("/"+name+"/{id:[0-9]+}", func(writer http.ResponseWriter, request *http.Request) {
			answerTo(writer, request, mux.Vars(request)["id"], handle)
		})
	}
	return router
}

func ginRouter(s *items) http.Handler {
	gin.SetMode(gin.ReleaseMode)
	router := gin.New()
	router.Use(gin.Recovery())
	router.GET("/healthz", func(c *gin.Context) { c.String(http.StatusOK, "ok") })
	for name, handle := range s.routes() {
		handle := handle
		router.GET("/"+name+"/:id", func(c *gin.Context) {
			id, err := strconv.ParseInt(c.Param("id"), 10, 64)
			if err != nil {
				c.AbortWithStatusJSON(http.StatusBadRequest, gin.H{"error": err.Error()})
				return
			}
			result, err := handle(c.Request.Context(), id)
			if err != nil {
				c.AbortWithStatusJSON(http.StatusInternalServerError, gin.H{"error": err.Error()})
				return
			}
			c.JSON(http.StatusOK, result)
		})
	}
	return router
}

func echoRouter(s *items) http.Handler {
	router := echo.New()
	router.GET("/healthz", func(c echo.Context) error { return c.String(http.StatusOK, "ok") })
	for name, handle := range s.routes() {
		handle := handle
		router.GET("/"+name+"/:id", func(c echo.Context) error {
			id, err := strconv.ParseInt(c.Param("id"), 10, 64)
			if err != nil {
				return echo.NewHTTPError(http.StatusBadRequest, err.Error())
			}
			result, err := handle(c.Request().Context(), id)
			if err != nil {
				return err
			}
			return c.JSON(http.StatusOK, result)
		})
	}
	return router
}

// statement carries the id in a comment, as sqlcommenter's do.
func statement(id int64) string {
	return fmt.Sprintf("SELECT name FROM items WHERE id = $1 /* item %d */", id)
}

func pgxName(url string) func(context.Context, int64) (string, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		log.Fatal(err)
	}
	config.MaxConns = 20
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		log.Fatal(err)
	}
	return func(ctx context.Context, id int64) (name string, err error) {
		err = pool.QueryRow(ctx, statement(id), id).Scan(&name)
		if err == pgx.ErrNoRows {
			err = nil
		}
		return name, err
	}
}

func sqlName(url string) func(context.Context, int64) (string, error) {
	database, err := sql.Open("postgres", url)
	if err != nil {
		log.Fatal(err)
	}
	database.SetMaxOpenConns(20)
	database.SetMaxIdleConns(20)
	return func(ctx context.Context, id int64) (name string, err error) {
		err = database.QueryRowContext(ctx, statement(id), id).Scan(&name)
		if err == sql.ErrNoRows {
			err = nil
		}
		return name, err
	}
}

func main() {
	framework := flag.String("framework", "net/http", "net/http, gin, echo or mux")
	driver := flag.String("database", "pgx", "pgx or lib/pq")
	flag.Parse()

	options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		log.Fatal(err)
	}
	s := &items{
		downURL: os.Getenv("DOWN_URL"),
		client:  &http.Client{Timeout: 30 * time.Second},
		cache:   redis.NewClient(options),
	}
	drivers := map[string]func(string) func(context.Context, int64) (string, error){
		"pgx": pgxName, "lib/pq": sqlName,
	}
	s.name = drivers[*driver](os.Getenv("DATABASE_URL"))
	routers := map[string]func(*items) http.Handler{
		"net/http": standard, "gin": ginRouter, "echo": echoRouter, "mux": gorilla,
	}
	address, handler := "127.0.0.1:"+os.Getenv("PORT"), routers[*framework](s)
	if certificate := os.Getenv("TLS_CERTIFICATE"); certificate != "" {
		log.Fatal(http.ListenAndServeTLS(address, certificate, os.Getenv("TLS_KEY"), handler))
	}
	log.Fatal(http.ListenAndServe(address, handler))
}
