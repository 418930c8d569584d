#!/bin/bash
# A script as cron would start it: it asks a service, PostgreSQL and Redis about one item.
# Usage: work.sh NUMBER [pause]
set -euo pipefail

number=$1
pause() { if [ "${2:-}" = pause ]; then sleep "0.00$((RANDOM % 5 + 1))"; fi; }

curl --silent --fail "$DOWN_URL/down/$number" > /dev/null
pause "$@"
psql --no-psqlrc --quiet --tuples-only "$DATABASE_URL" \
    --command "SELECT name FROM items WHERE id = $number" > /dev/null
pause "$@"
redis-cli -u "$REDIS_URL" get "item:$number" > /dev/null
