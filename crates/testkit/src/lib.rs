//! Fault servers, the store conformance suite, the launcher of the real test network, actors for tests.
