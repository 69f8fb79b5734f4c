//! The only HTTP client and the only DNS client: address checks, limits, pools.
