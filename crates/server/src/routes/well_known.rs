//! What the domain says of its apps, so that systems give them its links (row A-034).

use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};
use url::Url;

use super::{cacheable, json_of};
use crate::error::ApiError;
use crate::mobile::MobileConfig;
use crate::site::Site;

const KEPT: &str = "public, max-age=300";

/// Which Android apps may open links of this domain
#[utoipa::path(
    get, path = "/.well-known/assetlinks.json", tag = "OAuth servers", operation_id = "assetLinks",
    responses((status = 200, description = "A statement list (Digital Asset Links)"), (status = 404, description = "The operator listed none"))
)]
pub(crate) async fn android(State(site): State<Site>) -> Result<Response, ApiError> {
    if site.mobile.android_apps.is_empty() {
        return Err(ApiError::not_found());
    }
    let statement = |app: &crate::mobile::AndroidApp| {
        json!({
            "relation": ["delegate_permission/common.handle_all_urls"],
            "target": {
                "namespace": "android_app",
                "package_name": app.package,
                "sha256_cert_fingerprints": app.fingerprints,
            },
        })
    };
    let statements: Vec<Value> = site.mobile.android_apps.iter().map(statement).collect();
    Ok(cacheable(json_of(&statements), KEPT))
}

/// Which apps of Apple systems may open links of this domain
#[utoipa::path(
    get, path = "/.well-known/apple-app-site-association", tag = "OAuth servers", operation_id = "appleAppSiteAssociation",
    responses((status = 200, description = "Associated domains"), (status = 404, description = "The operator listed none"))
)]
pub(crate) async fn apple(State(site): State<Site>) -> Result<Response, ApiError> {
    if site.mobile.apple_apps.is_empty() {
        return Err(ApiError::not_found());
    }
    Ok(cacheable(json_of(&association(&site.mobile, &site.base_url)), KEPT))
}

/// Links for the addresses of apps that are on this domain, and nothing else of it. `webcredentials` is what a sign-in
/// session of the system asks for before it hands an https address to an app.
fn association(mobile: &MobileConfig, base_url: &Url) -> Value {
    let links = mobile.addresses.iter().filter(|address| address.is_link());
    let urls = links.filter_map(|address| Url::parse(address.as_str()).ok());
    let components: Vec<Value> = urls
        .filter(|url| url.origin() == base_url.origin())
        .map(|url| json!({"/": url.path(), "comment": "the end of a sign-in"}))
        .collect();
    let mut association = json!({"webcredentials": {"apps": mobile.apple_apps}});
    if !components.is_empty() {
        association["applinks"] = json!({"details": [{"appIDs": mobile.apple_apps, "components": components}]});
    }
    association
}
