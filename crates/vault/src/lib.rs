//! Encryption at rest, seals, and the checkout of fresh credentials.
