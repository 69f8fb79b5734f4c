#!/usr/bin/env bash
# Builds the library for Android's architectures. Needs Rust, the Android NDK (ANDROID_NDK_HOME) and `cargo install cargo-ndk`.
set -euo pipefail
cd "$(dirname "$0")/../.."
rustup target add aarch64-linux-android armv7-linux-androideabi x86_64-linux-android
cargo ndk -t arm64-v8a -t armeabi-v7a -t x86_64 -o clients/kotlin/lib/src/main/jniLibs \
  build --release --package bowerbird-client-ffi --lib
