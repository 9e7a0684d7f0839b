if [ "$1" = 0 ]; then
  # Remove the folders of this package if they are empty; files of the administrator stay.
  for folder in /usr/share/db_pool_exporter/alerts /usr/share/db_pool_exporter/dashboards /usr/share/db_pool_exporter \
    /usr/share/doc/db-pool-exporter /usr/share/licenses/db-pool-exporter /etc/db_pool_exporter/secrets /etc/db_pool_exporter; do
    rmdir "$folder" 2>/dev/null || :
  done
  if [ -d /run/systemd/system ]; then systemctl daemon-reload || :; fi
fi
