//! Addresses and methods that are not ours.

use crate::error::ApiError;

/// 404.
pub(crate) async fn not_found() -> ApiError {
    ApiError::not_found().with_action("/", "To the start page").negotiated("")
}

/// 405.
pub(crate) async fn method_not_allowed() -> ApiError {
    ApiError::method_not_allowed().with_action("/", "To the start page").negotiated("")
}
