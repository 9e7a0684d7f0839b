#!/bin/sh
# Run once by the image of PostgreSQL, in an empty database: the application's role and database, and the
# monitoring role of deploy/sql.
set -eu
app=$(cat /run/secrets/app)
psql -v ON_ERROR_STOP=1 -v app="$app" <<'SQL'
CREATE ROLE app LOGIN PASSWORD :'app' CONNECTION LIMIT 50;
CREATE DATABASE orders OWNER app;
\connect orders
CREATE EXTENSION pg_stat_statements;
SQL
psql -v ON_ERROR_STOP=1 -d orders -f /sql/role.sql
# The exporter of this demonstration uses the application's account; to let it see all roles' sessions:
psql -v ON_ERROR_STOP=1 -c 'GRANT pg_read_all_stats TO app'
