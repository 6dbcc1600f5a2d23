#!/bin/sh
# What a container does, by its first argument, its role:
#
#   web                       prepare the portal (migrations and the like), then serve
#   celery-worker             short tasks: announce files, clean up
#   celery-worker-workflows   runs of workflows
#   celery-beat               the scheduler; one only
#   dev                       Django's development server, reloading
#   manage ...                manage.py with these arguments
#   doorito ...               ./doorito with these arguments
#   healthy                   0 if the web server of this container serves
#
# Roles wait WAIT_SECONDS (120) for files that hold the database's address and the secret key (DATABASE_URL_FILE,
# DJANGO_SECRET_KEY_FILE), for the database, and, all but `web` and `dev`, for the portal to be prepared.
set -eu
cd "$(dirname "$0")"

wait=${WAIT_SECONDS:-120}

# Of a secret: until its value is set or the file that has it is there. What is missing then is told by the program.
wait_for() {
    eval "value=\${$1:-} file=\${$1_FILE:-}"
    if [ -n "$value" ] || [ -z "$file" ] || [ -s "$file" ]; then
        return
    fi
    echo "Waiting for $file ($1_FILE), up to $wait s" >&2
    left=$wait
    while [ ! -s "$file" ] && [ "$left" -gt 0 ]; do
        sleep 1
        left=$((left - 1))
    done
}

role=${1:-web}
[ $# -eq 0 ] || shift
if [ "$role" != healthy ]; then
    wait_for DATABASE_URL
    wait_for DJANGO_SECRET_KEY
fi

case $role in
web) exec python -m boot start web --prepare --wait "$wait" "$@" ;;
celery-worker) exec python -m boot start worker --wait "$wait" "$@" ;;
celery-worker-workflows) exec python -m boot start workflows --wait "$wait" "$@" ;;
celery-beat) exec python -m boot start beat --wait "$wait" "$@" ;;
dev)
    export DJANGO_CONFIGURATION=Dev
    python -m boot prepare --wait "$wait"
    exec python manage.py runserver "${WEB_HOST:-127.0.0.1}:${WEB_PORT:-8000}" "$@"
    ;;
manage) exec python manage.py "$@" ;;
doorito) exec python -m boot "$@" ;;
healthy)
    exec python -c "
from http.client import HTTPConnection
server = HTTPConnection('127.0.0.1', ${WEB_PORT:-8000}, timeout=8)
server.request('GET', '/healthz/')
raise SystemExit(server.getresponse().status != 200)"
    ;;
*)
    if command -v "$role" >/dev/null; then
        exec "$role" "$@"
    fi
    echo "Error: $role is no role. There are web, celery-worker, celery-worker-workflows, celery-beat, dev, manage, doorito." >&2
    exit 64
    ;;
esac
