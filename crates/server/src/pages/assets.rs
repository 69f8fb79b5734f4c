//! The style sheet, the icon and the two scripts, inside the program.

use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

/// The style sheet.
pub(crate) const CSS: &str = include_str!("../../assets/bowerbird.css");
/// The script of the page that an app opens.
pub(crate) const MOBILE_AUTH_JS: &str = include_str!("../../assets/mobile-auth.js");
/// The script of the window that another page opened.
pub(crate) const OPENER_JS: &str = include_str!("../../assets/opener.js");
/// The icon.
pub(crate) const FAVICON: &str = include_str!("../../assets/favicon.svg");

/// The path of the style sheet. It changes with its content, so that browsers may keep it for ever.
pub(crate) fn css_path() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| path(CSS, "css"));
    &PATH
}

/// The path of [`MOBILE_AUTH_JS`].
pub(crate) fn mobile_auth_js_path() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| path(MOBILE_AUTH_JS, "js"));
    &PATH
}

/// The path of [`OPENER_JS`].
pub(crate) fn opener_js_path() -> &'static str {
    static PATH: LazyLock<String> = LazyLock::new(|| path(OPENER_JS, "js"));
    &PATH
}

fn path(content: &str, extension: &str) -> String {
    let digest = Sha256::digest(content);
    format!("/assets/{:02x}{:02x}{:02x}{:02x}.{extension}", digest[0], digest[1], digest[2], digest[3])
}
