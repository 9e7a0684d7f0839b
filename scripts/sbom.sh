#!/usr/bin/env bash
# Writes the bill of materials of the program (CycloneDX, JSON) to standard output: every crate in the binary with its
# version, licence and checksum. The same commit gives the same bytes anywhere.
#
#   scripts/sbom.sh [TARGET]     default: x86_64-unknown-linux-musl
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$top"
target=${1:-x86_64-unknown-linux-musl}
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}"
PATH=$(scripts/setup.sh --print tools):$PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# cargo cyclonedx writes beside each Cargo.toml and names its path, so it gets a copy, and the path is replaced.
git ls-files -z Cargo.toml Cargo.lock build.rs README.md crates src | xargs -0 cp --parents -t "$work"
(cd "$work" && cargo cyclonedx --quiet --format json --spec-version 1.5 --target "$target") >&2
sed "s|path+file://$work|path+file:///build|g" "$work/db-pool-exporter.cdx.json"
