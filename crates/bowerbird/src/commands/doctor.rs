//! `bowerbird doctor`: checks everything the server depends on and says what to do.

use std::process::ExitCode;

use bowerbird_core::ports::{Dns as _, HttpClient as _, OlderContractUse, Purpose};
use bowerbird_server::{OLDER_CONTRACT_HINT, older_contract_warnings};
use bytes::Bytes;
use http::{Method, Request, header};
use serde_json::json;

use super::{Failure, USER};
use crate::compose::{Composition, compose};
use crate::load::Loaded;
use crate::printer::{Printer, Tone};

/// An authorization server accepts client assertions for 60 s; half of that is where it gets risky.
const CLOCK_WARNING_SECONDS: i64 = 30;

/// One thing that was checked.
struct Finding {
    name: &'static str,
    tone: Tone,
    detail: String,
    hint: Option<&'static str>,
}

impl Finding {
    fn good(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, tone: Tone::Good, detail: detail.into(), hint: None }
    }

    fn warning(name: &'static str, detail: impl Into<String>, hint: &'static str) -> Self {
        Self { name, tone: Tone::Warning, detail: detail.into(), hint: Some(hint) }
    }

    fn bad(name: &'static str, detail: impl Into<String>, hint: &'static str) -> Self {
        Self { name, tone: Tone::Bad, detail: detail.into(), hint: Some(hint) }
    }
}

/// Checks, prints, and fails if anything is bad.
pub(crate) async fn run(loaded: &Loaded, printer: Printer) -> Result<ExitCode, Failure> {
    let mut findings = vec![Finding::good("configuration", format!("base URL {}", loaded.settings.base_url))];
    match compose(loaded).await {
        Ok(composition) => {
            findings.push(Finding::good("keys", format!("{} OAuth client", client_kind(&composition))));
            findings.push(database(&composition).await);
            findings.extend(redis(&composition).await);
            findings.push(clock(loaded, &composition).await);
            findings.push(dns(&composition).await);
            findings.push(metadata(loaded, &composition).await);
            findings.extend(apps(loaded, &composition).await);
            composition.database.close().await;
        }
        Err(failure) => {
            let hint = "mend this first; the other checks need it";
            findings.push(Finding::bad("start", chain(failure.error.as_ref()), hint));
        }
    }
    show(&findings, printer);
    let bad = findings.iter().any(|finding| finding.tone == Tone::Bad);
    Ok(if bad { ExitCode::from(USER) } else { ExitCode::SUCCESS })
}

fn client_kind(composition: &Composition) -> &'static str {
    if composition.atproto.client.is_confidential() { "confidential" } else { "public (sessions end after 14 days)" }
}

async fn database(composition: &Composition) -> Finding {
    match composition.database.check().await {
        Ok(()) => Finding::good("database", "opens, is whole and durable"),
        Err(error) => {
            Finding::bad("database", chain(&error), "restore a backup, or look at the disk; nothing was changed")
        }
    }
}

async fn redis(composition: &Composition) -> Option<Finding> {
    let finding = match composition.redis.as_ref()?.check().await {
        Ok(()) => Finding::good("redis", "answers"),
        Err(error) => Finding::warning(
            "redis",
            chain(&error),
            "everything works without it, only slower; check BOWERBIRD_REDIS_URL and the server",
        ),
    };
    Some(finding)
}

/// Compares our clock with the PLC directory's `Date`.
async fn clock(loaded: &Loaded, composition: &Composition) -> Finding {
    let name = "clock";
    let url = loaded.settings.plc_url.as_str();
    let before = composition.clock.now();
    let answer = match get(composition, url).await {
        Ok(answer) => answer,
        Err(error) => {
            return Finding::warning(
                name,
                format!("{url}: {}", chain(error.as_ref())),
                "the PLC directory cannot be reached; check the network, or BOWERBIRD_PLC_URL",
            );
        }
    };
    let date = answer.headers().get(header::DATE).and_then(|value| value.to_str().ok());
    let theirs = date.and_then(|text| jiff::fmt::rfc2822::parse(text).ok()).map(|zoned| zoned.timestamp().as_second());
    match theirs {
        None => Finding::warning(name, "the PLC directory sent no date", "compare the clock by hand"),
        Some(theirs) if (theirs - before.as_seconds()).abs() > CLOCK_WARNING_SECONDS => Finding::warning(
            name,
            format!("{} s away from {url}", theirs - before.as_seconds()),
            "set the clock by NTP; sign-in works all the same, logs will not match",
        ),
        Some(theirs) => Finding::good(name, format!("{} s away from {url}", theirs - before.as_seconds())),
    }
}

async fn dns(composition: &Composition) -> Finding {
    match composition.net.txt("_atproto.bsky.app.").await {
        Ok(records) => Finding::good("dns", format!("answers ({} records for a known handle)", records.len())),
        Err(error) => Finding::warning(
            "dns",
            chain(&error),
            "handles with DNS records will not resolve; check BOWERBIRD_DNS_SERVERS",
        ),
    }
}

/// Fetches our own metadata the way an authorization server does.
async fn metadata(loaded: &Loaded, composition: &Composition) -> Finding {
    let name = "metadata";
    if loaded.settings.is_loopback() && !composition.atproto.client.is_confidential() {
        return Finding::good(name, "a loopback client; authorization servers do not fetch it");
    }
    let url = composition.atproto.client.client_id();
    match get(composition, url).await {
        Ok(answer) if answer.status() != 200 => Finding::bad(
            name,
            format!("{url} answers {}", answer.status()),
            "it must answer 200 without a redirect; check the reverse proxy",
        ),
        Ok(answer) if *answer.body() != composition.atproto.client.metadata_json() => Finding::bad(
            name,
            format!("{url} is not this configuration's document"),
            "restart the server, or check where the domain points",
        ),
        Ok(_) => Finding::good(name, url),
        Err(error) => Finding::bad(
            name,
            format!("{url}: {}", chain(error.as_ref())),
            "start the server and make this address reachable from outside",
        ),
    }
}

/// Which apps are still given their session in an address, which others may catch.
async fn apps(loaded: &Loaded, composition: &Composition) -> Vec<Finding> {
    const NAME: &str = "apps";
    if loaded.settings.mobile.addresses.is_empty() {
        return Vec::new();
    }
    match older_contract_warnings(composition.stores.older_contract.as_ref(), composition.clock.now()).await {
        Ok(uses) if uses.is_empty() => {
            vec![Finding::good(NAME, "none was given its session in an address in the last 30 days")]
        }
        Ok(uses) => {
            let warning = |one: &OlderContractUse| Finding::warning(NAME, session_in_address(one), OLDER_CONTRACT_HINT);
            uses.iter().map(warning).collect()
        }
        Err(error) => vec![Finding::warning(NAME, chain(&error), "nobody knows which apps follow the older contract")],
    }
}

fn session_in_address(one: &OlderContractUse) -> String {
    let last = jiff::Timestamp::from_millisecond(one.last_at.as_millis()).unwrap_or_default();
    let times = if one.times == 1 { "once".to_owned() } else { format!("{} times", one.times) };
    format!(
        "{} was given a session in its address {times}, last on {}",
        one.address,
        last.strftime("%Y-%m-%d %H:%M UTC")
    )
}

async fn get(
    composition: &Composition,
    url: &str,
) -> Result<http::Response<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
    let request = Request::builder().method(Method::GET).uri(url).body(Bytes::new())?;
    Ok(composition.net.send(request, Purpose::Document).await?)
}

fn show(findings: &[Finding], printer: Printer) {
    if printer.is_json() {
        let tone = |tone| match tone {
            Tone::Good => "ok",
            Tone::Warning => "warning",
            Tone::Bad => "failed",
        };
        let row = |f: &Finding| json!({"check": f.name, "result": tone(f.tone), "detail": f.detail, "hint": f.hint});
        printer.value(&json!({"checks": findings.iter().map(row).collect::<Vec<_>>()}));
        return;
    }
    for finding in findings {
        printer.line(&format!("{} {:<13} {}", printer.mark(finding.tone), finding.name, finding.detail));
        if let Some(hint) = finding.hint {
            printer.line(&format!("     {:<13} hint: {hint}", ""));
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
