//! The style sheet and the icon, inside the program.

use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

/// The style sheet.
pub(crate) const CSS: &str = include_str!("../../assets/bowerbird.css");
/// The icon.
pub(crate) const FAVICON: &str = include_str!("../../assets/favicon.svg");

/// The path of the style sheet. It changes with its content, so that browsers may keep it for ever.
pub(crate) fn css_path() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| {
        let digest = Sha256::digest(CSS);
        format!("/assets/{:02x}{:02x}{:02x}{:02x}.css", digest[0], digest[1], digest[2], digest[3])
    });
    &PATH
}
