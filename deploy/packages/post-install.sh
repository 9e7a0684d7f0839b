install -d -m 0755 /etc/db_pool_exporter
install -d -m 0700 /etc/db_pool_exporter/secrets
if [ -d /run/systemd/system ]; then systemctl daemon-reload || :; fi
if [ "$1" = 1 ]; then
  echo "db-pool-exporter: set the target in /etc/default/db_pool_exporter, then run: systemctl enable --now db_pool_exporter"
elif [ -d /run/systemd/system ]; then
  systemctl try-restart db_pool_exporter.service || :
fi
