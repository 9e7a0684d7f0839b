-- The role that the exporter logs in with. It can see sessions and their activity, but no data.
--
--   psql -d postgres -f role.sql            then, in psql:   \password db_pool_exporter
--
-- For PostgreSQL 13 to 18. Run it as a superuser, or as the administrator of a managed service. It can be run
-- again, and then restores the settings below. It changes no other role, database or setting.

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'db_pool_exporter') THEN
    -- The role has no password yet, so password login is impossible. By default a new role is not a superuser, and
    -- cannot create roles or databases, replicate or bypass row security. Stating this here (NOSUPERUSER and so on)
    -- would need a superuser, and managed services do not provide one.
    CREATE ROLE db_pool_exporter LOGIN;
  END IF;
END
$$;

-- The exporter opens at most 3 connections to a server. A limit of 10 leaves room for a second exporter (high
-- availability), for the old and new version of each during a rolling update, and for `db_pool_exporter check` by
-- hand. A connection also counts while its backend hangs in the login, even if its client has gone. With a limit
-- of 3, such connections would lock the exporter out, with an error that hides the cause.
ALTER ROLE db_pool_exporter LOGIN CONNECTION LIMIT 10;

-- Shows the state, wait events and times of all sessions in pg_stat_activity, and all rows of pg_stat_statements.
-- Without it, only the name of other roles' sessions is visible; the exporter then logs this and shows the state
-- `unknown`. (pg_monitor includes this role, but also grants more than is needed, such as all settings and
-- pg_ls_logdir().)
GRANT pg_read_all_stats TO db_pool_exporter;

-- The exporter has its own deadlines and cancels late statements. These settings are a safety net for the case that
-- it cannot, because it or the network has failed.
ALTER ROLE db_pool_exporter SET statement_timeout = '15s';
ALTER ROLE db_pool_exporter SET lock_timeout = '2s';
ALTER ROLE db_pool_exporter SET idle_in_transaction_session_timeout = '30s';
-- idle_session_timeout is not set: pooled connections are idle between probes on purpose.
-- default_transaction_read_only is not set: target_session_attrs=read-write would then reject every server.

DO $$
BEGIN
  IF current_setting('server_version_num')::int >= 170000 THEN
    ALTER ROLE db_pool_exporter SET transaction_timeout = '30s';
  END IF;
  -- Lets the exporter connect to a full server. It has an effect only where reserved_connections is above 0.
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

-- If CONNECT was revoked from PUBLIC, run for each watched database:
--   GRANT CONNECT ON DATABASE orders TO db_pool_exporter;
--
-- For `views: { statements: ... }`, run in the database that the exporter connects to (shared_preload_libraries must
-- include pg_stat_statements):
--   CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
--
-- For the write probe, which is off by default, run in that database:
--   psql -d orders -v role=db_pool_exporter -f heartbeat.sql
--
-- In pg_hba.conf, with TLS (use verify-full in the exporter's URL):
--   hostssl all db_pool_exporter 10.0.0.0/8 scram-sha-256
-- or on the same machine without a password; the systemd unit runs the daemon as a user of this name:
--   local   all db_pool_exporter            peer
--
-- Managed services: run this script as the administrator of the service, a member of rds_superuser (Amazon RDS and
-- Aurora), cloudsqlsuperuser (Cloud SQL), alloydbsuperuser (AlloyDB) or azure_pg_admin (Azure). If the service does
-- not allow granting pg_read_all_stats, grant pg_monitor instead. This project's tests run the script on their own
-- servers, as a superuser and as an administrator without superuser rights, but not on these services.
