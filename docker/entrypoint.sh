#!/usr/bin/env bash
# What a container does: migrate (roles, database, tables), serve (GraphQL and Django) or worker (jobs).
set -euo pipefail
cd "${DRIFTGRAPH_HOME:-/app}"

case "${1:-serve}" in
  migrate)
    # Only this step may know the superuser; roles and database are made once and repaired on every run.
    if [ -n "${DRIFTGRAPH_SUPERUSER_DATABASE_URL:-}" ]; then python manage.py prepare_database; fi
    exec python manage.py migrate_safely --wait 300
    ;;
  serve)
    # Several processes answer at one address: each must know what the others have counted, to tell it at /metrics.
    if [ "${DRIFTGRAPH_WORKERS:-1}" -gt 1 ]; then
      PROMETHEUS_MULTIPROC_DIR="$(mktemp -d)"
      export PROMETHEUS_MULTIPROC_DIR
    fi
    # A worker that is killed, by want of memory say, must not take the others along.
    # The server must not be able to become the owner of the tables.
    unset DRIFTGRAPH_OWNER_DATABASE_URL DRIFTGRAPH_SUPERUSER_DATABASE_URL
    exec granian --interface asgi --ws --host "${DRIFTGRAPH_HOST:-0.0.0.0}" --port "${DRIFTGRAPH_PORT:-8000}" \
      --workers "${DRIFTGRAPH_WORKERS:-1}" --respawn-failed-workers --respawn-interval 0.5 schema.http.asgi:app
    ;;
  worker)
    unset DRIFTGRAPH_OWNER_DATABASE_URL DRIFTGRAPH_SUPERUSER_DATABASE_URL
    exec python manage.py worker
    ;;
  *)
    echo "usage: driftgraph migrate|serve|worker" >&2
    exit 64
    ;;
esac
