if [ "$1" = 0 ] && [ -d /run/systemd/system ]; then
  systemctl --no-reload disable --now db_pool_exporter.service db_pool_exporter.socket || :
fi
