//! The names under which the secure store keeps things.
//!
//! Each account has a space of its own, `com.app.account.{uuid}.*`, so that one account's keys never meet another's, and
//! a key never contains a handle, which may change.

use std::fmt;

use bowerbird_core::AccountId;

/// How many accounts one page of the index names: a page must fit in what Windows keeps under one key (2,560 bytes).
pub(crate) const IDS_ON_A_PAGE: usize = 50;

/// The app's own prefix, such as `com.example.app`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace(String);

/// A text that is no namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("that is not a namespace; write the app's own name backwards, such as com.example.app")]
pub struct NamespaceError;

impl Namespace {
    /// Parses two or more labels of letters, digits, `-` and `_`; 128 bytes at most.
    ///
    /// ```
    /// # use bowerbird_client::Namespace;
    /// assert!(Namespace::parse("com.example.app").is_ok());
    /// assert!(Namespace::parse("app").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, NamespaceError> {
        let label_ok = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        let good = text.len() <= 128 && text.contains('.') && text.split('.').all(label_ok);
        if good { Ok(Self(text.to_owned())) } else { Err(NamespaceError) }
    }

    /// The prefix itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The whole name of a key.
    pub fn name(&self, key: StoreKey) -> String {
        format!("{}.{key}", self.0)
    }

    /// Reads a whole name back; `None` unless it is exactly what [`Self::name`] writes.
    pub fn read(&self, name: &str) -> Option<StoreKey> {
        StoreKey::read(name.strip_prefix(&self.0)?.strip_prefix('.')?)
    }
}

/// What is kept, without the app's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreKey {
    /// `account.{uuid}.session`: the account's seal and what renews it, together, so that they change together.
    Session(AccountId),
    /// `account.{uuid}.grant`: what the account's own server gave to this device, and the key that it is bound to.
    Grant(AccountId),
    /// `account.{uuid}.profile`: who the account is. No secret.
    Profile(AccountId),
    /// `accounts.{page}`: which accounts there are.
    Index(u8),
    /// `active`: which account is the active one.
    Active,
    /// `signIn`: the verifier of a sign-in under way, so that it survives the app being stopped.
    SignIn,
    /// `deviceSignIn`: state, verifier and key of a sign-in on the device that is under way.
    DeviceSignIn,
}

impl fmt::Display for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(id) => write!(f, "account.{id}.session"),
            Self::Grant(id) => write!(f, "account.{id}.grant"),
            Self::Profile(id) => write!(f, "account.{id}.profile"),
            Self::Index(page) => write!(f, "accounts.{page}"),
            Self::Active => f.write_str("active"),
            Self::SignIn => f.write_str("signIn"),
            Self::DeviceSignIn => f.write_str("deviceSignIn"),
        }
    }
}

impl StoreKey {
    fn read(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix("account.") {
            let (id, field) = rest.split_once('.')?;
            let id = AccountId::parse(id).ok()?;
            return match field {
                "session" => Some(Self::Session(id)),
                "grant" => Some(Self::Grant(id)),
                "profile" => Some(Self::Profile(id)),
                _ => None,
            };
        }
        if let Some(page) = text.strip_prefix("accounts.") {
            return page.parse().ok().map(Self::Index).filter(|key| key.to_string() == text);
        }
        match text {
            "active" => Some(Self::Active),
            "signIn" => Some(Self::SignIn),
            "deviceSignIn" => Some(Self::DeviceSignIn),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bowerbird_core::testing::SeededEntropy;
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = StoreKey> {
        prop_oneof![
            any::<u64>().prop_map(|seed| StoreKey::Session(AccountId::random(&SeededEntropy::new(seed)))),
            any::<u64>().prop_map(|seed| StoreKey::Grant(AccountId::random(&SeededEntropy::new(seed)))),
            any::<u64>().prop_map(|seed| StoreKey::Profile(AccountId::random(&SeededEntropy::new(seed)))),
            any::<u8>().prop_map(StoreKey::Index),
            Just(StoreKey::Active),
            Just(StoreKey::SignIn),
            Just(StoreKey::DeviceSignIn),
        ]
    }

    /// Namespaces that would collide if anything could: they look like the beginnings of keys.
    fn namespace() -> impl Strategy<Value = Namespace> {
        let label = prop_oneof![
            3 => "(com|app|account|accounts|active|session|signIn|0)",
            1 => "[a-z0-9_-]{1,8}",
            1 => any::<u64>().prop_map(|seed| AccountId::random(&SeededEntropy::new(seed)).to_string()),
        ];
        prop::collection::vec(label, 2..=3).prop_map(|labels| Namespace::parse(&labels.join(".")).unwrap())
    }

    #[test]
    fn names_have_the_documented_form() {
        let namespace = Namespace::parse("com.app").unwrap();
        let id = AccountId::parse("c0ffee00-0000-4000-8000-000000000001").unwrap();
        assert_eq!(
            namespace.name(StoreKey::Session(id)),
            "com.app.account.c0ffee00-0000-4000-8000-000000000001.session"
        );
        for stranger in ["com.app", "com.app.", "com.appactive", "com.ap.active", "com.app.accounts.007", ""] {
            assert_eq!(namespace.read(stranger), None, "{stranger}");
        }
        for bad in ["", "app", "com.", ".com", "com..app", "com.a pp", "com.app/x", "com.ä"] {
            assert_eq!(Namespace::parse(bad), Err(NamespaceError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_read_back(namespace in namespace(), key in key()) {
            prop_assert_eq!(namespace.read(&namespace.name(key)), Some(key));
        }

        #[test]
        fn no_two_keys_have_one_name(one in (namespace(), key()), other in (namespace(), key())) {
            prop_assert_eq!(one.0.name(one.1) == other.0.name(other.1), one == other);
        }

        #[test]
        fn reading_never_panics_and_has_one_spelling(text in "com\\.app\\.\\PC{0,60}") {
            let namespace = Namespace::parse("com.app").unwrap();
            if let Some(key) = namespace.read(&text) {
                prop_assert_eq!(namespace.name(key), text);
            }
        }
    }
}
