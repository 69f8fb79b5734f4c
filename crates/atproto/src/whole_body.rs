//! Reading a streamed body whole, up to a limit.
//!
//! `http_body_util::Limited` does this too, but its future over a boxed error is not `Send` for every lifetime in the
//! eyes of the compiler, and then no handler of a web framework can hold it.

use bowerbird_core::ports::{BoxError, StreamBody};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

/// A body that is larger than what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is larger than {0} bytes")]
pub(crate) struct BodyTooLarge(usize);

/// Reads a body of at most `limit` bytes.
pub(crate) async fn whole_body(mut body: StreamBody, limit: usize) -> Result<Bytes, BoxError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame?.into_data() else { continue };
        if whole.len() + piece.len() > limit {
            return Err(BodyTooLarge(limit).into());
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use bowerbird_core::ports::full_body;

    use super::*;

    #[tokio::test]
    async fn the_limit_is_exact() {
        assert_eq!(whole_body(full_body("abc"), 3).await.unwrap(), "abc");
        assert!(whole_body(full_body("abcd"), 3).await.unwrap_err().is::<BodyTooLarge>());
        assert_eq!(whole_body(full_body(""), 0).await.unwrap(), "");
    }
}
