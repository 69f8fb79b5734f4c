//! Randomness.

/// A cryptographically secure source of random bytes.
pub trait Entropy: Send + Sync {
    /// Fills the whole slice. An adapter that cannot must end the process rather than return: every secret here would
    /// be guessable.
    fn fill(&self, destination: &mut [u8]);
}
