//! DNS lookups that the domain itself makes. Address lookups belong to the HTTP client, which checks what it gets.

use async_trait::async_trait;

/// Looks up DNS records.
#[async_trait]
pub trait Dns: Send + Sync {
    /// The TXT records of a name, each joined from its character strings; empty when the name or the records do not
    /// exist. At most 64 records of 4 KB are returned.
    async fn txt(&self, name: &str) -> Result<Vec<String>, DnsError>;
}

/// A lookup that gave no answer, which is not the same as an answer of "none".
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// No server answered in time.
    #[error("the DNS lookup took too long")]
    Timeout,
    /// A server failed or refused.
    #[error("the DNS lookup failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}
