//! AT Protocol: identity, sign-in, the signed upstream call, and the OAuthClient for Rust developers.
