//! Scopes of the AT Protocol: `atproto`, the transitional ones, and the granular permissions (<https://atproto.com/specs/permission>).

mod grammar;
mod permission;
mod set;

pub use permission::{
    AccountAction, AccountPermission, BlobPermission, IdentityPermission, IncludePermission, RepoAction,
    RepoPermission, RpcPermission, Scope, TransitionScope,
};
pub use set::{ScopeError, ScopeSet};
