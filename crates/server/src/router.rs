//! Every address of this server, by who uses it.

use axum::Router;
use axum::extract::FromRef as _;
use axum::handler::Handler;
use axum::routing::{MethodFilter, on};
use http::Method;

use crate::door::DoorLayer;
use crate::parts::{Parts, ServerParts};
use crate::route_names::RouteNames;
use crate::routes::{
    account_activate, account_add, account_app_password, account_avatar, account_list, account_remove, account_show,
    assets, auth_start, auth_tokens, client_metadata, device_end, device_list, devices_page, docs, events, fallback,
    forms, health, home, jwks, login, login_repair, logout, mobile_auth, mobile_decline, mobile_refresh, mobile_start,
    oauth_callback, openapi_json, ready, security_events, security_page, session, tokens_health, validate_session,
    well_known, window_end, xrpc,
};

/// Builds the router. Serve it with [`crate::serve`], or with anything that provides
/// `axum::extract::ConnectInfo<SocketAddr>`; without that, all clients share one sign-in limit.
pub fn router(parts: ServerParts) -> Router {
    let parts = Parts::new(parts);
    let Table { router, names, .. } = table();
    let site = crate::site::Site::from_ref(&parts);
    let names = RouteNames::new(names);
    let door = DoorLayer::new(site, parts.clock().clone(), parts.entropy().clone(), names);
    router
        .fallback(fallback::not_found)
        .method_not_allowed_fallback(fallback::method_not_allowed)
        .layer(door)
        .with_state(parts)
}

/// Method and path of every operation, as the OpenAPI document writes them. For the tests that hold the router, the
/// document and the authorization table together.
pub fn operations() -> Vec<(Method, &'static str)> {
    table().operations
}

fn table() -> Table {
    Table::default()
        // Browsers
        .get("/", home::get)
        .visit("/login", login::get)
        .post("/login", login::post)
        .visit("/login/repair/{account_id}", login_repair::get)
        .get("/mobile-auth", mobile_auth::get)
        .post("/mobile-auth/decline", mobile_decline::post)
        .post("/accounts/add", forms::add::post)
        .post("/accounts/app-password", forms::app_password::post)
        .post("/accounts/switch", forms::switch::post)
        .post("/accounts/remove", forms::remove::post)
        .post("/sign-out", forms::sign_out::post)
        .get("/devices", devices_page::get)
        .post("/devices/sign-out", forms::devices::one)
        .post("/devices/sign-out-others", forms::devices::others)
        .post("/devices/sign-out-all", forms::devices::all)
        .get("/security", security_page::get)
        .get("/docs", docs::get)
        .get("/assets/{file}", assets::css)
        .get("/favicon.svg", assets::favicon)
        // Apps
        .get("/api/auth/session", session::get)
        .get("/validate-session", validate_session::get)
        .post("/api/auth/logout", logout::post)
        .visit("/api/auth/window-end", window_end::get)
        .post("/api/auth/start", auth_start::post)
        .post("/api/auth/mobile-start", mobile_start::post)
        .post("/api/auth/tokens", auth_tokens::post)
        .alias("/api/auth/mobile-token", MethodFilter::POST, auth_tokens::post)
        .visit("/mobile/refresh-token", mobile_refresh::get)
        .post("/mobile/refresh-token", mobile_refresh::post)
        .get("/api/accounts", account_list::get)
        .post("/api/accounts", account_add::post)
        .post("/api/accounts/app-password", account_app_password::post)
        .post("/api/accounts/{id}/activate", account_activate::post)
        .get("/api/accounts/{id}", account_show::get)
        .delete("/api/accounts/{id}", account_remove::delete)
        .get("/api/accounts/{id}/avatar", account_avatar::get)
        .get("/api/devices", device_list::get)
        .post("/api/devices/sign-out", device_end::post)
        .delete("/api/devices/{device}", device_end::delete)
        .get("/api/security-events", security_events::get)
        .get("/api/tokens/health", tokens_health::get)
        .alias("/api/social/tokens/health", MethodFilter::GET, tokens_health::get)
        .visit("/api/events", events::get)
        .xrpc()
        // OAuth servers
        .visit("/oauth/callback", oauth_callback::get)
        .alias("/callback", MethodFilter::GET, oauth_callback::get)
        .get("/oauth-client-metadata.json", client_metadata::get)
        .alias("/client-metadata.json", MethodFilter::GET, client_metadata::get)
        .get("/oauth/jwks.json", jwks::get)
        .get("/.well-known/assetlinks.json", well_known::android)
        .get("/.well-known/apple-app-site-association", well_known::apple)
        // Operators
        .get("/health", health::get)
        .get("/ready", ready::get)
        .get("/openapi.json", openapi_json::get)
}

/// A router under construction, with a list of what is in it.
#[derive(Default)]
struct Table {
    router: Router<Parts>,
    operations: Vec<(Method, &'static str)>,
    /// Every path, and how the documentation writes it.
    names: Vec<(&'static str, &'static str)>,
}

impl Table {
    fn get<H: Handler<T, Parts>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.add(Method::GET, path, path, MethodFilter::GET, handler)
    }

    /// A GET that begins or ends something. HEAD must not: mail scanners and link previews send it.
    fn visit<H: Handler<T, Parts>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        let mut table = self.get(path, handler);
        table.router = table.router.route(path, on(MethodFilter::HEAD, fallback::method_not_allowed));
        table
    }

    fn post<H: Handler<T, Parts>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.add(Method::POST, path, path, MethodFilter::POST, handler)
    }

    fn delete<H: Handler<T, Parts>, T: 'static>(self, path: &'static str, handler: H) -> Self {
        self.add(Method::DELETE, path, path, MethodFilter::DELETE, handler)
    }

    /// Any path below `/xrpc/`, so that what is no method name is refused as such and not as an unknown address.
    fn xrpc(mut self) -> Self {
        const ANY: &str = "/xrpc/{*nsid}";
        const DOCUMENTED: &str = "/xrpc/{nsid}";
        self.router = self.router.route(ANY, on(MethodFilter::HEAD, fallback::method_not_allowed));
        self.add(Method::GET, DOCUMENTED, ANY, MethodFilter::GET, xrpc::get).add(
            Method::POST,
            DOCUMENTED,
            ANY,
            MethodFilter::POST,
            xrpc::post,
        )
    }

    /// An older name of an address; not documented again.
    fn alias<H: Handler<T, Parts>, T: 'static>(mut self, path: &'static str, filter: MethodFilter, handler: H) -> Self {
        self.names.push((path, path));
        self.router = self
            .router
            .route(path, on(filter, handler))
            .route(path, on(MethodFilter::HEAD, fallback::method_not_allowed));
        self
    }

    fn add<H: Handler<T, Parts>, T: 'static>(
        mut self,
        method: Method,
        documented: &'static str,
        path: &'static str,
        filter: MethodFilter,
        handler: H,
    ) -> Self {
        self.operations.push((method, documented));
        self.names.push((path, documented));
        self.router = self.router.route(path, on(filter, handler));
        self
    }
}
