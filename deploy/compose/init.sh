#!/bin/sh
# The PostgreSQL image runs this once, in an empty database cluster. It creates the application's role and database,
# and the monitoring role of deploy/sql.
set -eu
psql -v ON_ERROR_STOP=1 -v app="$(cat /run/secrets/app)" <<'SQL'
CREATE ROLE app LOGIN PASSWORD :'app' CONNECTION LIMIT 50;
CREATE DATABASE orders OWNER app;
\connect orders
CREATE EXTENSION pg_stat_statements;
SQL
psql -v ON_ERROR_STOP=1 -d orders -f /sql/role.sql
psql -v ON_ERROR_STOP=1 -v monitor="$(cat /run/secrets/monitor)" <<'SQL'
ALTER ROLE db_pool_exporter PASSWORD :'monitor';
SQL
