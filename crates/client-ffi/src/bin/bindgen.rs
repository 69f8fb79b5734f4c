//! Writes the Swift, Kotlin and Python sources from the built library; `cargo xtask gen` runs it.

fn main() {
    uniffi::uniffi_bindgen_main();
}
