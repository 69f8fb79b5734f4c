//! What one scope means: parsed once, printed canonically, compared by what it covers.

use std::{collections::BTreeSet, fmt};

use super::grammar::{Parts, is_nsid, print};

/// One scope value of a scope string.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// `atproto`: required in every request and every grant.
    Atproto,
    /// `transition:…`: the broad scopes of the time before permissions.
    Transition(TransitionScope),
    /// `repo:…`: writing records.
    Repo(RepoPermission),
    /// `rpc:…`: calling services through the person's server.
    Rpc(RpcPermission),
    /// `blob:…`: uploading files.
    Blob(BlobPermission),
    /// `account:…`: the hosting account.
    Account(AccountPermission),
    /// `identity:…`: the handle or the whole identity.
    Identity(IdentityPermission),
    /// `include:…`: a published permission set.
    Include(IncludePermission),
    /// Anything else, kept as it came: it grants nothing here, and is no reason to refuse a grant.
    Unknown(String),
}

/// The transitional scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TransitionScope {
    /// Everything an app password can do, except direct messages.
    Generic,
    /// Direct messages; only together with [`Self::Generic`].
    ChatBsky,
    /// The account's e-mail address.
    Email,
}

/// `repo:<collection|*>?action=…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepoPermission {
    /// Collections by NSID; empty means every collection (`*`).
    pub collections: BTreeSet<String>,
    /// What may be done in them, at least one.
    pub actions: BTreeSet<RepoAction>,
}

/// What may be done with records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RepoAction {
    /// Create records.
    Create,
    /// Replace records.
    Update,
    /// Delete records.
    Delete,
}

/// `rpc:<method|*>?aud=<did#service|*>`; never both `*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RpcPermission {
    /// Methods by NSID; empty means every method (`*`).
    pub methods: BTreeSet<String>,
    /// The service's DID with its fragment; `None` means every service (`*`).
    pub audience: Option<String>,
}

/// `blob:<type/subtype>`, with `*` for any.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobPermission {
    /// Media type patterns (`image/*`), at least one.
    pub accept: BTreeSet<String>,
}

/// `account:<attribute>?action=read|manage`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountPermission {
    /// `email` or `repo`.
    pub attribute: String,
    /// What may be done with it.
    pub action: AccountAction,
}

/// What may be done with an account's attribute; managing includes reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccountAction {
    /// Read it.
    Read,
    /// Change it.
    Manage,
}

/// `identity:handle` or `identity:*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IdentityPermission {
    /// Change the handle.
    Handle,
    /// Change anything about the identity.
    Any,
}

/// `include:<nsid>?aud=…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IncludePermission {
    /// The permission set's NSID.
    pub nsid: String,
    /// The audience that the set's inheriting permissions get.
    pub audience: Option<String>,
}

impl Scope {
    /// Reads one scope; what is not understood becomes [`Self::Unknown`].
    pub fn parse(text: &str) -> Self {
        match text {
            "atproto" => Some(Self::Atproto),
            "transition:generic" => Some(Self::Transition(TransitionScope::Generic)),
            "transition:chat.bsky" => Some(Self::Transition(TransitionScope::ChatBsky)),
            "transition:email" => Some(Self::Transition(TransitionScope::Email)),
            other => Parts::parse(other).and_then(|parts| Self::from_parts(&parts)),
        }
        .unwrap_or_else(|| Self::Unknown(text.to_owned()))
    }

    fn from_parts(parts: &Parts) -> Option<Self> {
        match parts.resource.as_str() {
            "repo" => RepoPermission::from_parts(parts).map(Self::Repo),
            "rpc" => RpcPermission::from_parts(parts).map(Self::Rpc),
            "blob" => BlobPermission::from_parts(parts).map(Self::Blob),
            "account" => AccountPermission::from_parts(parts).map(Self::Account),
            "identity" => IdentityPermission::from_parts(parts).map(Self::Identity),
            "include" => IncludePermission::from_parts(parts).map(Self::Include),
            _ => None,
        }
    }

    /// Whether this scope allows everything that `other` allows. Permission sets and unknown scopes only cover themselves.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Repo(mine), Self::Repo(theirs)) => mine.covers(theirs),
            (Self::Rpc(mine), Self::Rpc(theirs)) => mine.covers(theirs),
            (Self::Blob(mine), Self::Blob(theirs)) => mine.covers(theirs),
            (Self::Account(mine), Self::Account(theirs)) => {
                mine.attribute == theirs.attribute && mine.action >= theirs.action
            }
            (Self::Identity(IdentityPermission::Any), Self::Identity(_)) => true,
            _ => self == other,
        }
    }

    /// The smallest permissions that together mean the same: one collection and action, one method, one media type.
    pub(super) fn atoms(&self) -> Vec<Self> {
        match self {
            Self::Repo(repo) => {
                let collections = singles(&repo.collections);
                let pairs = collections.iter().flat_map(|one| repo.actions.iter().map(move |action| (one, *action)));
                pairs
                    .map(|(one, action)| {
                        Self::Repo(RepoPermission { collections: one.clone(), actions: [action].into() })
                    })
                    .collect()
            }
            Self::Rpc(rpc) => singles(&rpc.methods)
                .into_iter()
                .map(|methods| Self::Rpc(RpcPermission { methods, audience: rpc.audience.clone() }))
                .collect(),
            Self::Blob(blob) => {
                singles(&blob.accept).into_iter().map(|accept| Self::Blob(BlobPermission { accept })).collect()
            }
            other => vec![other.clone()],
        }
    }
}

/// One set per element; a single empty set (which means "all") stays as it is.
fn singles(set: &BTreeSet<String>) -> Vec<BTreeSet<String>> {
    if set.is_empty() { vec![BTreeSet::new()] } else { set.iter().map(|one| [one.clone()].into()).collect() }
}

impl RepoPermission {
    fn from_parts(parts: &Parts) -> Option<Self> {
        if !parts.knows_only(&["collection", "action"]) {
            return None;
        }
        let collections = names_or_all(&parts.positional_or("collection")?)?;
        let actions = match parts.all("action").as_slice() {
            [] => RepoAction::ALL.into(),
            some => some.iter().map(|text| RepoAction::parse(text)).collect::<Option<_>>()?,
        };
        Some(Self { collections, actions })
    }

    fn covers(&self, other: &Self) -> bool {
        all_or_superset(&self.collections, &other.collections) && self.actions.is_superset(&other.actions)
    }
}

impl RepoAction {
    const ALL: [Self; 3] = [Self::Create, Self::Update, Self::Delete];

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

impl RpcPermission {
    fn from_parts(parts: &Parts) -> Option<Self> {
        if !parts.knows_only(&["lxm", "aud"]) {
            return None;
        }
        let methods = names_or_all(&parts.positional_or("lxm")?)?;
        let audience = match parts.single("aud").ok()?? {
            "*" if methods.is_empty() => return None,
            "*" => None,
            service if is_service(service) => Some(service.to_owned()),
            _ => return None,
        };
        Some(Self { methods, audience })
    }

    fn covers(&self, other: &Self) -> bool {
        all_or_superset(&self.methods, &other.methods) && (self.audience.is_none() || self.audience == other.audience)
    }
}

impl BlobPermission {
    fn from_parts(parts: &Parts) -> Option<Self> {
        if !parts.knows_only(&["accept"]) {
            return None;
        }
        let accept = parts.positional_or("accept")?;
        let fits = !accept.is_empty() && accept.iter().all(|pattern| is_media_pattern(pattern));
        fits.then(|| Self { accept: accept.into_iter().map(str::to_owned).collect() })
    }

    fn covers(&self, other: &Self) -> bool {
        other.accept.iter().all(|theirs| self.accept.iter().any(|mine| media_pattern_covers(mine, theirs)))
    }
}

impl AccountPermission {
    fn from_parts(parts: &Parts) -> Option<Self> {
        if !parts.knows_only(&["attr", "action"]) {
            return None;
        }
        let [attribute @ ("email" | "repo")] = parts.positional_or("attr")?[..] else { return None };
        let action = match parts.single("action").ok()? {
            None | Some("read") => AccountAction::Read,
            Some("manage") => AccountAction::Manage,
            Some(_) => return None,
        };
        Some(Self { attribute: attribute.to_owned(), action })
    }
}

impl IdentityPermission {
    fn from_parts(parts: &Parts) -> Option<Self> {
        if !parts.knows_only(&["attr"]) {
            return None;
        }
        match parts.positional_or("attr")?[..] {
            ["handle"] => Some(Self::Handle),
            ["*"] => Some(Self::Any),
            _ => None,
        }
    }
}

impl IncludePermission {
    fn from_parts(parts: &Parts) -> Option<Self> {
        if !parts.knows_only(&["nsid", "aud"]) {
            return None;
        }
        let [nsid] = parts.positional_or("nsid")?[..] else { return None };
        let audience = parts.single("aud").ok()?;
        let fits = is_nsid(nsid) && audience.is_none_or(is_service);
        fits.then(|| Self { nsid: nsid.to_owned(), audience: audience.map(str::to_owned) })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Atproto => "atproto".to_owned(),
            Self::Transition(TransitionScope::Generic) => "transition:generic".to_owned(),
            Self::Transition(TransitionScope::ChatBsky) => "transition:chat.bsky".to_owned(),
            Self::Transition(TransitionScope::Email) => "transition:email".to_owned(),
            Self::Repo(repo) => {
                let every = repo.actions.len() == RepoAction::ALL.len();
                let listed = repo.actions.iter().filter(|_| !every);
                let actions: Vec<_> = listed.map(|action| ("action", action.as_str())).collect();
                print("repo", "collection", &shown(&repo.collections), &actions)
            }
            Self::Rpc(rpc) => {
                print("rpc", "lxm", &shown(&rpc.methods), &[("aud", rpc.audience.as_deref().unwrap_or("*"))])
            }
            Self::Blob(blob) => print("blob", "accept", &shown(&blob.accept), &[]),
            Self::Account(account) => {
                let manage = account.action == AccountAction::Manage;
                print("account", "attr", &[&account.attribute], if manage { &[("action", "manage")] } else { &[] })
            }
            Self::Identity(IdentityPermission::Handle) => "identity:handle".to_owned(),
            Self::Identity(IdentityPermission::Any) => "identity:*".to_owned(),
            Self::Include(include) => {
                let audience: Vec<_> = include.audience.iter().map(|audience| ("aud", audience.as_str())).collect();
                print("include", "nsid", &[&include.nsid], &audience)
            }
            Self::Unknown(text) => text.clone(),
        };
        f.write_str(&text)
    }
}

fn shown(names: &BTreeSet<String>) -> Vec<&str> {
    if names.is_empty() { vec!["*"] } else { names.iter().map(String::as_str).collect() }
}

/// NSIDs, or nothing for `*`; there are no partial wildcards, and an empty list is no permission.
fn names_or_all(names: &[&str]) -> Option<BTreeSet<String>> {
    if names.is_empty() || names.iter().any(|name| *name != "*" && !is_nsid(name)) {
        return None;
    }
    Some(if names.contains(&"*") { BTreeSet::new() } else { names.iter().map(|&name| name.to_owned()).collect() })
}

/// Compares sets in which "empty" means "all".
fn all_or_superset(mine: &BTreeSet<String>, theirs: &BTreeSet<String>) -> bool {
    mine.is_empty() || (!theirs.is_empty() && mine.is_superset(theirs))
}

/// Whether a text is a DID with a service fragment, `did:method:id#service`.
fn is_service(text: &str) -> bool {
    text.split_once('#').is_some_and(|(did, fragment)| {
        crate::token::is_did(did)
            && !fragment.is_empty()
            && fragment.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    })
}

fn is_media_pattern(text: &str) -> bool {
    let part_fits = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    match text.split_once('/') {
        Some(("*", "*")) => true,
        Some((kind, "*")) => part_fits(kind),
        Some((kind, subtype)) => part_fits(kind) && part_fits(subtype),
        None => false,
    }
}

fn media_pattern_covers(mine: &str, theirs: &str) -> bool {
    mine == "*/*" || mine == theirs || mine.strip_suffix('*').is_some_and(|prefix| theirs.starts_with(prefix))
}

#[cfg(test)]
#[path = "permission_tests.rs"]
mod tests;
