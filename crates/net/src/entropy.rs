//! Randomness of the operating system.

use bowerbird_core::ports::Entropy;

/// The random generator of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the adapter of the entropy port")]
    fn fill(&self, destination: &mut [u8]) {
        if let Err(error) = getrandom::fill(destination) {
            tracing::error!(%error, "the operating system gives no randomness; this process ends, since every secret would be guessable");
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_the_whole_slice_differently_each_time() {
        let (mut one, mut two) = ([0; 64], [0; 64]);
        OsEntropy.fill(&mut one);
        OsEntropy.fill(&mut two);
        assert_ne!(one, two);
        assert_ne!(one[32..], [0; 32]);
    }
}
