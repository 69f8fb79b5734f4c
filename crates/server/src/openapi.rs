//! The OpenAPI document.

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::error::ErrorBody;
use crate::overview::{AccountStatus, AuthType, ListedAccount};
use crate::routes::{
    account_activate, account_add, account_app_password, account_avatar, account_list, account_remove, account_show,
    assets, auth_start, auth_tokens, client_metadata, device_end, device_list, devices_page, docs, events, forms,
    health, home, jwks, login, login_repair, logout, mobile_auth, mobile_decline, mobile_refresh, mobile_start,
    oauth_callback, openapi_json, ready, security_events, security_page, session, tokens_health, validate_session,
    well_known, window_end, xrpc,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Bowerbird",
        description = "Signs people in with the AT Protocol, keeps their tokens, and calls their servers for an app that holds one sealed session. \
            Unsafe calls with a cookie need `Bowerbird-CSRF: 1`. Every error answer has the header `Bowerbird-Error` with a stable code.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "Apps", description = "With a seal, by cookie or as bearer"),
        (name = "Browsers", description = "Pages and forms"),
        (name = "OAuth servers", description = "What authorization servers read and where they send people"),
        (name = "Operators", description = "Health and documents"),
    ),
    paths(
        home::get, login::get, login::post, login_repair::get, mobile_auth::get, mobile_decline::post,
        forms::add::post, forms::app_password::post, forms::switch::post, forms::remove::post, forms::sign_out::post,
        devices_page::get, forms::devices::one, forms::devices::others, forms::devices::all, security_page::get,
        docs::get, assets::css, assets::favicon,
        session::get, validate_session::get, logout::post, window_end::get,
        auth_start::post, mobile_start::post, auth_tokens::post,
        mobile_refresh::get, mobile_refresh::post,
        account_list::get, account_add::post, account_app_password::post,
        account_show::get, account_activate::post, account_remove::delete, account_avatar::get,
        device_list::get, device_end::post, device_end::delete, security_events::get,
        tokens_health::get, events::get,
        xrpc::get, xrpc::post,
        oauth_callback::get, client_metadata::get, jwks::get, well_known::android, well_known::apple,
        health::get, ready::get, openapi_json::get,
    ),
    components(schemas(ErrorBody, ListedAccount, AccountStatus, AuthType)),
    modifiers(&Credentials),
)]
struct Document;

struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::with_description(
            "sid",
            "A seal in the cookie `__Host-sid` (https) or `sid` (loopback, and apps that build the cookie themselves)",
        )));
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("A seal")).build();
        components.add_security_scheme("cookie", cookie);
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// The document. The same for every installation.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}
