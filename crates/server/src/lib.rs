//! The axum face: routes, extractors, cookies, CSRF, pages, OpenAPI.
