//! A short name of a device for people, such as `Firefox on Linux`, from `User-Agent`. Never decides anything.

use http::HeaderMap;
use http::header::USER_AGENT;

/// Browsers by their mark, most specific first: most of them claim to be others too.
const BROWSERS: [(&str, &str); 7] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];
const SYSTEMS: [(&str, &str); 7] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

/// Names the device.
pub(crate) fn device_name(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let of =
        |marks: &[(&str, &'static str)]| marks.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name);
    match (of(&BROWSERS), of(&SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => "Unknown device".to_owned(),
    }
}

/// The system in a name, where it is one that is known.
pub(crate) fn platform_of(name: &str) -> Option<&'static str> {
    let last = name.rsplit(" on ").next().unwrap_or(name);
    SYSTEMS.iter().map(|(_, system)| *system).find(|system| *system == last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_devices_are_named() {
        let name = |agent: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(USER_AGENT, agent.parse().unwrap());
            device_name(&headers)
        };
        assert_eq!(name("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"), "Firefox on Linux");
        let edge =
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36 Edg/140.0";
        assert_eq!(name(edge), "Edge on Windows");
        assert_eq!(
            name("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1"),
            "Safari on iPhone"
        );
        assert_eq!(name("curl/8.5.0"), "Unknown device");
        assert_eq!(device_name(&HeaderMap::new()), "Unknown device");
        for (name, platform) in [
            ("Firefox on Linux", Some("Linux")),
            ("Safari on iPhone", Some("iPhone")),
            ("Windows", Some("Windows")),
            ("Skylight on Android", Some("Android")),
            ("Firefox", None),
            ("Unknown device", None),
            ("Linux on a toaster", None),
        ] {
            assert_eq!(platform_of(name), platform, "{name}");
        }
    }
}
