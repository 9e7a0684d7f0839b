if [ "$1" = 0 ]; then
  # Folders that only this package used, if nothing of the administrator's is in them.
  for folder in /usr/share/db_pool_exporter/alerts /usr/share/db_pool_exporter/dashboards /usr/share/db_pool_exporter \
    /usr/share/doc/db-pool-exporter /usr/share/licenses/db-pool-exporter /etc/db_pool_exporter/secrets /etc/db_pool_exporter; do
    rmdir "$folder" 2>/dev/null || :
  done
  if [ -d /run/systemd/system ]; then systemctl daemon-reload || :; fi
fi
