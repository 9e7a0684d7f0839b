-- The table of the write probe. Run once by the database's owner, in the target's database:
--
--   psql -v role=db_pool_exporter -f heartbeat.sql orders
--
-- The probe inserts its rows, reads them back, and deletes them in one transaction, so the table stays
-- empty. The dead rows are removed by autovacuum; the settings below make it run early.

CREATE TABLE IF NOT EXISTS db_pool_exporter_heartbeat (
    probe      text        NOT NULL, -- identifies the exporter and the probe
    n          integer     NOT NULL,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (probe, n)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

COMMENT ON TABLE db_pool_exporter_heartbeat IS 'Write probe of db_pool_exporter; empty between probes';

GRANT SELECT, INSERT, DELETE ON db_pool_exporter_heartbeat TO :"role";
