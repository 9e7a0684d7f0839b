#!/usr/bin/env bash
# Tests a release as users would use it: builds it twice in two places and compares the bytes, runs the program in an
# empty root directory, and installs, starts and removes the packages in a Debian root. Needs root, for chroot.
#
#   scripts/check-release.sh [FOLDER]     writes the release to FOLDER (default: dist/)
#   RELEASE_ONCE=yes                      skips the second build
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top"
PATH=$PATH:/usr/sbin:/sbin
chroot=$(command -v chroot)
out=${1:-dist}
work=$(mktemp -d)
daemon=

say() { printf 'release: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

# Stops the daemon, unmounts and removes everything when the script ends.
clean_up() {
  stop_daemon || true
  mountpoint -q "$work/debian/proc" && umount "$work/debian/proc"
  rm -rf --one-file-system "$work"
}
trap clean_up EXIT

[ "$(id -u)" = 0 ] || fail "needs root, for chroot"

# start ROOT VARIABLE=VALUE ... : starts the program in ROOT as an unprivileged user, on port 19956
start() {
  local root=$1
  shift
  env -i "$@" DB_POOL_EXPORTER_WEB_LISTEN_ADDRESS=127.0.0.1:19956 \
    "$chroot" --userspec=65532:65532 "$root" /usr/bin/db_pool_exporter serve >"$work/log" 2>&1 &
  daemon=$!
  local _
  for _ in $(seq 100); do
    if healthy "$root"; then return 0; fi
    kill -0 "$daemon" 2>/dev/null || break
    sleep 0.1
  done
  cat "$work/log" >&2
  fail "the daemon did not become healthy in $root"
}

healthy() {
  env -i DB_POOL_EXPORTER_WEB_LISTEN_ADDRESS=127.0.0.1:19956 \
    "$chroot" --userspec=65532:65532 "$1" /usr/bin/db_pool_exporter healthcheck 2>/dev/null
}

stop_daemon() {
  local pid=$daemon
  [ -n "$pid" ] || return 0
  daemon=
  kill -TERM "$pid" 2>/dev/null || return 0
  wait "$pid"
}

# shows PATTERN: waits until the metrics have a line that matches
shows() {
  local _
  for _ in $(seq 100); do
    if curl -sf http://127.0.0.1:19956/metrics >"$work/metrics" && grep -qE "$1" "$work/metrics"; then return 0; fi
    sleep 0.1
  done
  cat "$work/log" >&2
  fail "the metrics never showed $1"
}

# --- the same bytes twice ---------------------------------------------------------------------------------

commit=$(git rev-parse HEAD)
changes=$(git status --porcelain)
rm -rf "$out"
scripts/dist.sh "$out" >/dev/null
if [ "${RELEASE_ONCE:-no}" = yes ]; then
  say "built only once, because of RELEASE_ONCE"
elif [ -n "$changes" ]; then
  say "the working tree has uncommitted changes: the second build is skipped"
else
  # Another source folder, target folder and time; the same commit and tools.
  git clone -q --no-local "$top" "$work/elsewhere/clone"
  git -C "$work/elsewhere/clone" checkout -q "$commit"
  ln -s "$top/.cache" "$work/elsewhere/clone/.cache"
  CARGO_TARGET_DIR="$work/elsewhere/target" "$work/elsewhere/clone/scripts/dist.sh" "$work/again" >/dev/null
  diff "$out/SHA256SUMS" "$work/again/SHA256SUMS" >&2 || fail "two builds of one commit differ"
  say "two builds in two places gave the same bytes"
  rm -rf "$work/elsewhere" "$work/again"
fi

# --- an empty root ----------------------------------------------------------------------------------------

archive=$(find "$out" -name 'db_pool_exporter-*.tar.gz')
tar xzf "$archive" -C "$work"
program=$(find "$work" -name db_pool_exporter -type f -perm -u+x)
if ldd "$program" 2>/dev/null | grep -q "=>"; then fail "the program is not static"; fi
"$program" --version | grep -qF "revision: $commit" || fail "the program does not report its revision"
if grep -qaF -e "$top" -e "$HOME/" "$program"; then fail "the program contains a path of this machine"; fi

sbom=$(find "$out" -name '*.cdx.json')
for crate in rustls tokio-postgres bb8 db-pool-metrics; do
  grep -qF "\"name\": \"$crate\"" "$sbom" || fail "the bill of materials has no $crate"
done
if grep -qF -e "$top" -e "$HOME/" -e /tmp/ "$sbom"; then fail "the bill of materials contains a path of this machine"; fi

empty=$work/empty
mkdir -p "$empty/usr/bin"
cp "$program" "$empty/usr/bin/"
chmod -R go+rX "$work"
# Port 9 is closed: this tests only whether the name is resolved.
start "$empty" DATABASE_URL=postgresql://u@db.test:9/x DB_MONITOR_INTERVAL=1
shows '^db_pool_up\{.*\} 0'
stop_daemon || fail "the daemon did not end with 0"
mkdir "$empty/etc"
echo '127.0.0.1 db.test' >"$empty/etc/hosts"
chmod -R go+rX "$empty/etc"
start "$empty" DATABASE_URL=postgresql://u@db.test:9/x DB_MONITOR_INTERVAL=1
shows '^db_pool_connect_errors_total\{.*phase="tcp",reason="refused".*\} [1-9]'
stop_daemon || fail "the daemon did not end with 0"
say "the program runs, resolves names and stops in an empty root"

# --- the unit's system call filter ------------------------------------------------------------------------

# expand SET: prints the system calls of one of systemd's sets, one per line
expand() {
  local line
  systemd-analyze syscall-filter --no-pager "$1" | tail -n +2 | sed 's/ //g; /^#/d; /^$/d' | while read -r line; do
    case $line in @*) expand "$line" ;; *) echo "$line" ;; esac
  done
}
filter() { sed -n "s/^SystemCallFilter=$1//p" deploy/systemd/db_pool_exporter.service | tr ' ' '\n' | grep '^@'; }
filter '~' | while read -r set; do expand "$set"; done | sort -u >"$work/denied"
filter '' | while read -r set; do expand "$set"; done | sort -u | comm -23 - "$work/denied" >"$work/allowed"
env -i DATABASE_URL='postgresql://u@localhost:9/x?sslmode=require' DB_MONITOR_INTERVAL=1 \
  DB_POOL_EXPORTER_WEB_LISTEN_ADDRESS=127.0.0.1:19956 \
  "$(command -v strace)" -f -o "$work/calls" "$program" serve >"$work/log" 2>&1 &
tracer=$!
shows '^db_pool_up\{.*\} 0'
traced=$(head -n 1 "$work/calls" | cut -d ' ' -f 1)
kill -HUP "$traced"
curl -sf http://127.0.0.1:19956/-/ready >/dev/null || fail "the daemon does not answer under strace"
kill -TERM "$traced"
wait "$tracer" || fail "the daemon did not end with 0 under strace"
sed -nE 's/^[0-9]+ +([a-z_0-9]+)\(.*/\1/p' "$work/calls" | sort -u >"$work/used"
[ "$(wc -l <"$work/used")" -gt 25 ] || fail "could not read the system calls of the daemon"
[ "$(wc -l <"$work/allowed")" -gt 200 ] || fail "could not read the system calls that the unit allows"
forbidden=$(comm -23 "$work/used" "$work/allowed")
[ -z "$forbidden" ] || fail "the unit forbids system calls of the daemon: $forbidden"
say "the unit's filter allows the $(wc -l <"$work/used") system calls that the daemon makes"

# --- packages ---------------------------------------------------------------------------------------------

root=$work/debian
codename=$(sed -n "s/^VERSION_CODENAME=//p" /etc/os-release)
debootstrap --variant=minbase "$codename" "$root" >"$work/debootstrap.log" 2>&1 ||
  { tail -n 20 "$work/debootstrap.log" >&2; fail "debootstrap"; }
mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
find "$root/etc" "$root/usr" "$root/var/lib/systemd" 2>/dev/null | sort >"$work/before"

# installed NAME: checks what the package of this kind has installed
installed() {
  local file
  for file in /usr/bin/db_pool_exporter /usr/lib/systemd/system/db_pool_exporter.service \
    /usr/lib/systemd/system/db_pool_exporter.socket /etc/default/db_pool_exporter; do
    [ -f "$root$file" ] || fail "$1 did not install $file"
  done
  [ "$(stat -c %a:%u "$root/etc/db_pool_exporter/secrets")" = 700:0 ] || fail "$1: the folder of secrets"
  [ "$(stat -c %a:%u "$root/etc/default/db_pool_exporter")" = 640:0 ] || fail "$1: the environment file's mode"
  [ ! -e "$root/etc/systemd/system/multi-user.target.wants/db_pool_exporter.service" ] || fail "$1 enabled the service"
  # With APP_ENV=production, as the unit runs it, it refuses to start without a URL.
  local code=0
  env -i APP_ENV=production "$chroot" --userspec=65532:65532 "$root" /usr/bin/db_pool_exporter 2>/dev/null || code=$?
  [ "$code" = 64 ] || fail "$1: without a DATABASE_URL the exit code is $code"
  start "$root" APP_ENV=production DATABASE_URL='postgresql://u@localhost:9/x?sslmode=require'
  shows '^db_pool_up\{.*\} 0'
  stop_daemon || fail "the daemon did not end with 0"
}

# removed NAME: checks that no file is left
removed() {
  find "$root/etc" "$root/usr" "$root/var/lib/systemd" 2>/dev/null | sort >"$work/after"
  local left
  left=$(comm -13 "$work/before" "$work/after" | grep -i 'db.pool.exporter' || true)
  [ -z "$left" ] || fail "$1 left behind: $left"
}

cp "$out"/*.deb "$root/tmp/package.deb"
chroot "$root" dpkg -i /tmp/package.deb >"$work/dpkg.log" 2>&1 || { cat "$work/dpkg.log" >&2; fail "dpkg -i"; }
installed .deb
echo 'DB_POOL_SIZE=7' >>"$root/etc/default/db_pool_exporter"
chroot "$root" dpkg -i /tmp/package.deb >"$work/dpkg.log" 2>&1 </dev/null || fail "a second dpkg -i"
grep -q DB_POOL_SIZE=7 "$root/etc/default/db_pool_exporter" || fail "a reinstallation lost the user's configuration"
chroot "$root" dpkg --remove db-pool-exporter >/dev/null 2>&1 || fail "dpkg --remove"
[ -f "$root/etc/default/db_pool_exporter" ] || fail "dpkg --remove deleted the configuration"
chroot "$root" dpkg --purge db-pool-exporter >/dev/null 2>&1 || fail "dpkg --purge"
removed .deb
say ".deb: installed, started, updated, removed, purged"

# rpm(8) of this machine installs into the same root, where the package's scripts run.
rpm --root "$root" --initdb
rpm --root "$root" -i --nosignature --nodeps "$out"/*.rpm 2>"$work/rpm.log" >&2 || { cat "$work/rpm.log" >&2; fail "rpm -i"; }
installed .rpm
rpm --root "$root" -e db-pool-exporter 2>"$work/rpm.log" || { cat "$work/rpm.log" >&2; fail "rpm -e"; }
rm -f "$root/etc/default/db_pool_exporter.rpmsave"
removed .rpm
say ".rpm: installed, started, removed"
python3 scripts/pictures.py --check || say "a release should have new pictures"
say "passed"
