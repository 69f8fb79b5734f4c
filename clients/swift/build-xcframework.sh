#!/usr/bin/env bash
# Builds the library for iPhones, their simulator and Macs, and packs it with its header. For a Mac with Xcode and Rust.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=clients/swift
target=$(cargo metadata --no-deps --format-version=1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
libraries=()
for triple in aarch64-apple-ios aarch64-apple-ios-sim aarch64-apple-darwin; do
  cargo rustc --release --package bowerbird-client-ffi --lib --crate-type staticlib --target "$triple"
  libraries+=(-library "$target/$triple/release/libbowerbird_client_ffi.a" -headers "$here/include")
done
rm -rf "$here/BowerbirdClientFFI.xcframework"
xcodebuild -create-xcframework "${libraries[@]}" -output "$here/BowerbirdClientFFI.xcframework"
