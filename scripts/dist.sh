#!/usr/bin/env bash
# Builds a release: the static program in an archive, .deb and .rpm packages with the same program, its bill of
# materials, the Helm chart, and checksums. The same commit and compiler give the same bytes at any place and time,
# because paths are remapped and time stamps are those of the commit.
#
#   scripts/dist.sh [FOLDER]     writes to FOLDER (default: dist/)
#   DIST_TARGET=...              default: x86_64-unknown-linux-musl. If Rust's standard library for it is missing, glibc
#                                is linked statically instead, and the file names say so
#   DIST_PACKAGES=no             builds the archive and the chart only
set -euo pipefail
umask 022
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top"
out=$(mkdir -p "${1:-dist}" && cd "${1:-dist}" && pwd)
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$top/target}" CARGO_INCREMENTAL=0
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}"
export DB_POOL_EXPORTER_REVISION="${DB_POOL_EXPORTER_REVISION:-$(git rev-parse HEAD)}" DB_POOL_EXPORTER_BRANCH=""
export LC_ALL=C TZ=UTC

say() { printf 'dist: %s\n' "$*" >&2; }

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
sysroot=$(rustc --print sysroot)
target=${DIST_TARGET:-x86_64-unknown-linux-musl}
if [ ! -d "$sysroot/lib/rustlib/$target" ]; then
  say "Rust's standard library for $target is missing; linking glibc statically instead. The program will" \
    "resolve host names from /etc/hosts and DNS only"
  target=$(rustc -vV | sed -n 's/^host: //p')
fi

cargo_home=${CARGO_HOME:-$HOME/.cargo}
flags=(-Ctarget-feature=+crt-static)
maps=("$top=/build" "$CARGO_TARGET_DIR=/target" "$cargo_home=/cargo" "$sysroot=/rust")
for map in "${maps[@]}"; do
  flags+=("--remap-path-prefix=$map")
  CFLAGS="${CFLAGS:-} -ffile-prefix-map=$map"
done
export CFLAGS
# Separated by the ASCII unit separator, because a path may contain a space.
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && printf '%s' "${flags[*]}")
export CARGO_ENCODED_RUSTFLAGS
cargo build --release --locked --target "$target" --bin db_pool_exporter
program=$CARGO_TARGET_DIR/$target/release/db_pool_exporter

# pack NAME FOLDER: writes FOLDER/NAME as a .tar.gz to standard output; equal content gives equal bytes
pack() {
  tar --sort=name --format=gnu --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
    --mode='u+rwX,go=rX' -C "$2" -cf - "$1" | gzip -9n
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
name=db_pool_exporter-$version-$target
mkdir -p "$work/$name"
cp "$program" LICENSE README.md CHANGELOG.md METRICS.md SECURITY.md "$work/$name/"
cp -r deploy/systemd deploy/sql deploy/man deploy/completions "$work/$name/"
for folder in alerts dashboards mixin; do
  if [ -d "$folder" ]; then cp -r "$folder" "$work/$name/"; fi
done
pack "$name" "$work" >"$out/$name.tar.gz"
files=("$name.tar.gz")

# The chart, with the alerts and dashboards that it links to.
mkdir "$work/chart"
cp -rL deploy/helm/db-pool-exporter "$work/chart/"
rm -rf "$work"/chart/db-pool-exporter/files/*/{tests,provisioning,*.py,*.md}
pack db-pool-exporter "$work/chart" >"$out/db-pool-exporter-$version.tgz"
files+=("db-pool-exporter-$version.tgz")

if [ "${DIST_PACKAGES:-yes}" = yes ]; then
  PATH=$(scripts/setup.sh --print tools):$PATH
  cargo deb --quiet --no-build --no-strip --target "$target" --output "$out/db-pool-exporter_${version}_amd64.deb" >&2
  # cargo generate-rpm stores the files' time stamps. So build from a copy with the commit's time stamps.
  stage=$work/stage
  mkdir -p "$stage/target/$target/release"
  git ls-files -z Cargo.toml '*.md' LICENSE src deploy alerts dashboards | xargs -0 cp -P --parents -t "$stage"
  cp "$program" "$stage/target/$target/release/"
  find "$stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
  (cd "$stage" && cargo generate-rpm --target "$target" --target-dir "$stage/target" \
    --source-date "$SOURCE_DATE_EPOCH" --output "$out/db-pool-exporter-$version.x86_64.rpm") >&2
  scripts/sbom.sh "$target" >"$out/$name.cdx.json"
  files+=("db-pool-exporter_${version}_amd64.deb" "db-pool-exporter-$version.x86_64.rpm" "$name.cdx.json")
fi

(cd "$out" && sha256sum "${files[@]}" >SHA256SUMS)
cat "$out/SHA256SUMS"
