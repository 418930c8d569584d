# A rack service with net/http, pg and redis, each thread with its own client or from a pool.

require "connection_pool"
require "json"
require "net/http"
require "pg"
require "redis"

DATABASE = ConnectionPool.new(size: 16) { PG.connect(ENV.fetch("DATABASE_URL")) }
CACHE = ConnectionPool.new(size: 16) { Redis.new(url: ENV.fetch("REDIS_URL")) }
DOWN = URI(ENV.fetch("DOWN_URL"))
CLIENTS = ConnectionPool.new(size: 16) { Net::HTTP.start(DOWN.host, DOWN.port, use_ssl: DOWN.scheme == "https") }

def down(id)
  CLIENTS.with { |client| JSON.parse(client.get("/down/#{id}").body) }
end

def name(id)
  DATABASE.with do |database|
    rows = database.exec_params("SELECT name FROM items WHERE id = $1 /* item #{id} */", [id])
    rows.ntuples.zero? ? nil : rows[0]["name"]
  end
end

def cached(id)
  CACHE.with { |cache| cache.get("item:#{id}") }
end

def pause
  sleep(rand(0.001..0.005))
end

def work(id)
  answer = { id: id, down: down(id) }
  pause
  answer[:name] = name(id)
  pause
  answer.merge(cached: cached(id))
end

def straight(id)
  { id: id, down: down(id), name: name(id), cached: cached(id) }
end

def fan(id)
  calls = [-> { down(id) }, -> { name(id) }, -> { cached(id) }]
  found = calls.map { |call| Thread.new(&call) }.map(&:value)
  { id: id, down: found[0], name: found[1], cached: found[2] }
end

ROUTES = { "paced" => method(:work), "await" => method(:straight), "fan" => method(:fan) }.freeze

run(lambda do |env|
  _, route, id = env["PATH_INFO"].split("/")
  if route == "healthz"
    [200, { "Content-Type" => "text/plain" }, ["ok"]]
  elsif ROUTES.key?(route)
    [200, { "Content-Type" => "application/json" }, [JSON.generate(ROUTES[route].call(Integer(id)))]]
  else
    [404, {}, []]
  end
end)
