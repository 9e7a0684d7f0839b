-- The role that the exporter connects as: it sees who is connected and what they do, and nothing of the data.
--
--   psql -d postgres -f role.sql            then, in psql:   \password db_pool_exporter
--
-- For PostgreSQL 13 to 18, as a superuser or as the administrator of a managed service. It can be run again: it
-- then sets what is below. It changes no role, database or setting but its own.

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'db_pool_exporter') THEN
    -- Without a password, nobody can log in with one. New roles are neither superuser nor may they create
    -- roles or databases, replicate or pass by row security. To say so here (NOSUPERUSER and so on) would take a
    -- superuser, whom managed services do not give.
    CREATE ROLE db_pool_exporter LOGIN;
  END IF;
END
$$;

-- The exporter opens at most 3 connections to a target. 10 leaves room for a second exporter (high
-- availability), for both versions of each during a rolling update, and for `db_pool_exporter check` by hand; and
-- connections whose client is gone but whose backend hangs in its login count too, for as long as it does. A limit
-- of 3 would then refuse the exporter itself, with an error that hides the cause.
ALTER ROLE db_pool_exporter LOGIN CONNECTION LIMIT 10;

-- All sessions' state, wait events and times in pg_stat_activity, and all rows of pg_stat_statements. Without it
-- other roles' sessions show a name and nothing else, and the exporter says so: in its log, and by the state `unknown`.
-- (pg_monitor holds it, and more than is needed: all settings and pg_ls_logdir(), among others.)
GRANT pg_read_all_stats TO db_pool_exporter;

-- The exporter has its own deadlines and cancels what is late. These are for the day on which it cannot: it is
-- gone, or the network is.
ALTER ROLE db_pool_exporter SET statement_timeout = '15s';
ALTER ROLE db_pool_exporter SET lock_timeout = '2s';
ALTER ROLE db_pool_exporter SET idle_in_transaction_session_timeout = '30s';
-- Not idle_session_timeout: pooled connections are idle between probes, that is their purpose.
-- Not default_transaction_read_only: target_session_attrs=read-write would take each server for a standby.

DO $$
BEGIN
  IF current_setting('server_version_num')::int >= 170000 THEN
    ALTER ROLE db_pool_exporter SET transaction_timeout = '30s';
  END IF;
  -- So that the exporter can still say that a server is full. It takes effect where reserved_connections is above 0.
  IF current_setting('server_version_num')::int >= 160000 THEN
    BEGIN
      GRANT pg_use_reserved_connections TO db_pool_exporter;
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE NOTICE 'pg_use_reserved_connections could not be granted; a full server will refuse the exporter too';
    END;
  END IF;
END
$$;

COMMENT ON ROLE db_pool_exporter IS 'Monitoring by db_pool_exporter: statistics only, no data';

-- Where CONNECT was taken from PUBLIC, for each database that is watched:
--   GRANT CONNECT ON DATABASE orders TO db_pool_exporter;
--
-- For `views: { statements: ... }`, in the database that the exporter connects to (shared_preload_libraries has to
-- name it):
--   CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
--
-- For the write probe, off by default, in that database:
--   psql -d orders -v role=db_pool_exporter -f heartbeat.sql
--
-- pg_hba.conf, over TLS (verify-full in the exporter's URL):
--   hostssl all db_pool_exporter 10.0.0.0/8 scram-sha-256
-- or on the same machine without any password, under systemd, where the daemon runs as a user of this name:
--   local   all db_pool_exporter            peer
--
-- Managed services. Run it as the administrator that the service gave you: a member of rds_superuser (Amazon RDS and
-- Aurora), cloudsqlsuperuser (Cloud SQL), alloydbsuperuser (AlloyDB) or azure_pg_admin (Azure). Where it refuses to
-- grant pg_read_all_stats, grant pg_monitor in its place. This project's tests run it on servers of its own, as
-- a superuser and as an administrator who is none; not on these services.
