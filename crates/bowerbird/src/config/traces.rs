//! The OpenTelemetry collector, by the names that OpenTelemetry gave its settings.

use bowerbird_events::Sampler;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use url::Url;

use super::{ConfigError, Values};

const ENDPOINT: &str = "BOWERBIRD_OTLP_ENDPOINT";
const HEADERS: &str = "BOWERBIRD_OTLP_HEADERS";
const SAMPLER: &str = "BOWERBIRD_TRACES_SAMPLER";
/// What OTLP over HTTP appends to the address.
const PATH: &str = "v1/traces";

/// Where traces go, and which.
pub(crate) struct Collector {
    pub(crate) endpoint: Uri,
    /// Its `host:port`: the only address that may be reached for traces.
    pub(crate) host_and_port: String,
    pub(crate) headers: HeaderMap,
    pub(crate) service_name: String,
    pub(crate) sampler: Sampler,
}

/// Reads what is configured. No message shows an address or a header: both may hold a secret.
pub(crate) fn collector(values: &Values) -> Result<Option<Collector>, ConfigError> {
    let Some(given) = values.get(ENDPOINT) else { return Ok(None) };
    let refused = || {
        let problem =
            "write an http:// or https:// address without user, query and fragment, such as http://127.0.0.1:4318";
        ConfigError::named(ENDPOINT, problem)
    };
    let mut url = Url::parse(given).map_err(|_| refused())?;
    let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !matches!(url.scheme(), "http" | "https") || !is_bare || url.fragment().is_some() {
        return Err(refused());
    }
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return Err(refused()) };
    let host_and_port = format!("{host}:{port}");
    url.set_path(&format!("{}/{PATH}", url.path().trim_end_matches('/')));
    let share = values.get("BOWERBIRD_TRACES_SAMPLER_ARG").unwrap_or_default();
    Ok(Some(Collector {
        endpoint: url.as_str().parse().map_err(|_| refused())?,
        host_and_port,
        headers: headers(values)?,
        service_name: values.get("BOWERBIRD_SERVICE_NAME").unwrap_or_default().to_owned(),
        sampler: Sampler::parse(values.get(SAMPLER).unwrap_or_default(), share)
            .map_err(|error| ConfigError::named(SAMPLER, error.to_string()))?,
    }))
}

fn headers(values: &Values) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::new();
    for (number, pair) in (1..).zip(values.list(HEADERS)) {
        let refused = || ConfigError::named(HEADERS, format!("header {number} is not of the form name=value"));
        let (name, value) = pair.split_once('=').ok_or_else(refused)?;
        let name: HeaderName = name.trim().parse().map_err(|_| refused())?;
        let mut value = HeaderValue::from_bytes(&decoded(value.trim()).ok_or_else(refused)?).map_err(|_| refused())?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// Undoes percent-encoding.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok().filter(|_| code.bytes().all(|byte| byte.is_ascii_hexdigit()))?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Option<Collector>, ConfigError> {
        let lookup = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        collector(&Values::gather(&|_| None, &lookup, None)?)
    }

    #[test]
    fn nothing_is_traced_unless_a_collector_is_named() {
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[("OTEL_SERVICE_NAME", "x"), ("OTEL_TRACES_SAMPLER", "nonsense")]).unwrap().is_none());
    }

    #[test]
    fn the_names_of_opentelemetry_work_and_ours_win() {
        let found = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example/otlp/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20key, x-tenant = a=b"),
            ("OTEL_SERVICE_NAME", "bower"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
            ("BOWERBIRD_TRACES_SAMPLER_ARG", "0.25"),
        ]);
        let found = found.unwrap().unwrap();
        assert_eq!(found.endpoint, "https://collector.example/otlp/v1/traces");
        assert_eq!(found.host_and_port, "collector.example:443");
        assert_eq!(
            (&found.headers["authorization"], &found.headers["x-tenant"]),
            (&"Bearer key".parse().unwrap(), &"a=b".parse().unwrap())
        );
        assert_eq!(found.service_name, "bower");
        assert_eq!(found.sampler, Sampler::parse("traceidratio", "0.25").unwrap());
        let plain = read(&[(ENDPOINT, "http://[::1]:4318")]).unwrap().unwrap();
        assert_eq!(
            (plain.endpoint.to_string().as_str(), plain.host_and_port.as_str()),
            ("http://[::1]:4318/v1/traces", "[::1]:4318")
        );
        assert_eq!(
            (plain.service_name.as_str(), plain.sampler),
            ("bowerbird", Sampler::parse("parentbased_always_on", "").unwrap())
        );
    }

    #[test]
    fn bad_values_name_their_variable_and_show_no_secret() {
        let endpoint = (ENDPOINT, "http://127.0.0.1:4318");
        for (pairs, name) in [
            (vec![(ENDPOINT, "canary")], ENDPOINT),
            (vec![(ENDPOINT, "grpc://canary:4317")], ENDPOINT),
            (vec![(ENDPOINT, "http://canary@collector.example")], ENDPOINT),
            (vec![(ENDPOINT, "http://collector.example/?key=canary")], ENDPOINT),
            (vec![endpoint, (HEADERS, "canary")], HEADERS),
            (vec![endpoint, (HEADERS, "a=b,canary key=x")], HEADERS),
            (vec![endpoint, (HEADERS, "key=canary%0")], HEADERS),
            (vec![endpoint, (HEADERS, "key=canary%0a")], HEADERS),
            (vec![endpoint, (SAMPLER, "canary")], SAMPLER),
        ] {
            let Err(error) = read(&pairs) else { panic!("{pairs:?}") };
            assert!(matches!(error, ConfigError::Invalid { name: named, .. } if named == name), "{pairs:?}: {error}");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }
}
