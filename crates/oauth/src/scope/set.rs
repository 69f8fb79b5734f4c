//! A scope string: what is asked for, what a client may ask for, what was granted.

use std::fmt;

use super::{Scope, TransitionScope};

/// The scopes of one scope string, in their order, each once.
///
/// Every scope keeps the text in which it was written, and is printed with it: authorization servers compare a
/// request with the client's metadata text by text, so that both must be printed alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeSet {
    entries: Vec<(String, Scope)>,
}

impl ScopeSet {
    /// Reads what a client is configured to ask for: every scope must be understood, `atproto` be among them, and
    /// `transition:chat.bsky` come with `transition:generic`.
    pub fn parse_requested(text: &str) -> Result<Self, ScopeError> {
        let set = Self::granted(text);
        set.check_requested()?;
        Ok(set)
    }

    /// Reads what a server granted: nothing is refused here, since a grant may be smaller than what was asked for,
    /// expanded (`include:`), or name permissions that are newer than this code.
    pub fn granted(text: &str) -> Self {
        let mut entries: Vec<(String, Scope)> = Vec::new();
        for word in text.split_ascii_whitespace() {
            if !entries.iter().any(|(known, _)| known == word) {
                entries.push((word.to_owned(), Scope::parse(word)));
            }
        }
        Self { entries }
    }

    /// Checks the rules of [`Self::parse_requested`] on a set that was built in another way.
    pub fn check_requested(&self) -> Result<(), ScopeError> {
        if let Some((text, _)) = self.entries.iter().find(|(_, scope)| matches!(scope, Scope::Unknown(_))) {
            return Err(ScopeError::NotUnderstood(crate::token::printable(text, 100)));
        }
        if !self.has_atproto() {
            return Err(ScopeError::AtprotoMissing);
        }
        let transition = |scope| self.contains(&Scope::Transition(scope));
        if transition(TransitionScope::ChatBsky) && !transition(TransitionScope::Generic) {
            return Err(ScopeError::ChatWithoutGeneric);
        }
        Ok(())
    }

    /// Whether the scope that every grant needs is there.
    pub fn has_atproto(&self) -> bool {
        self.contains(&Scope::Atproto)
    }

    /// Whether exactly this scope is in the set, however it was written.
    pub fn contains(&self, scope: &Scope) -> bool {
        self.entries.iter().any(|(_, mine)| mine == scope)
    }

    /// Whether everything that `scope` allows is allowed by the scopes of this set together.
    pub fn covers(&self, scope: &Scope) -> bool {
        scope.atoms().iter().all(|atom| self.entries.iter().any(|(_, mine)| mine.covers(atom)))
    }

    /// Whether everything in this set is also allowed by `other`.
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.entries.iter().all(|(_, scope)| other.covers(scope))
    }

    /// The scopes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.entries.iter().map(|(_, scope)| scope)
    }

    /// Whether there is no scope at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The scope string in canonical form, for comparing and showing.
    pub fn canonical(&self) -> String {
        let mut words: Vec<String> = self.iter().map(Scope::to_string).collect();
        words.sort_unstable();
        words.dedup();
        words.join(" ")
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut entries: Vec<(String, Scope)> = Vec::new();
        for scope in scopes {
            if !entries.iter().any(|(_, known)| *known == scope) {
                entries.push((scope.to_string(), scope));
            }
        }
        Self { entries }
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (text, _)) in self.entries.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(text)?;
        }
        Ok(())
    }
}

/// Why a scope string cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// `atproto` is missing.
    #[error("the scope must contain `atproto`; add it")]
    AtprotoMissing,
    /// `transition:chat.bsky` stands without `transition:generic`.
    #[error("`transition:chat.bsky` works only together with `transition:generic`; add it")]
    ChatWithoutGeneric,
    /// A scope is not of the AT Protocol's grammar.
    #[error("the scope {0:?} is not understood; see https://atproto.com/specs/permission")]
    NotUnderstood(String),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requested_scopes_follow_the_rules() {
        let set = ScopeSet::parse_requested("atproto transition:generic  atproto").unwrap();
        assert_eq!(set.to_string(), "atproto transition:generic");
        assert_eq!(ScopeSet::parse_requested("").unwrap_err(), ScopeError::AtprotoMissing);
        assert_eq!(ScopeSet::parse_requested("transition:generic").unwrap_err(), ScopeError::AtprotoMissing);
        let chat = ScopeSet::parse_requested("atproto transition:chat.bsky").unwrap_err();
        assert_eq!(chat, ScopeError::ChatWithoutGeneric);
        let unknown = ScopeSet::parse_requested("atproto openid").unwrap_err();
        assert_eq!(unknown, ScopeError::NotUnderstood("openid".to_owned()));
        assert!(ScopeSet::parse_requested("atproto rpc:*?aud=*").is_err());
    }

    #[test]
    fn a_grant_with_unknown_scopes_is_kept_whole() {
        let granted = ScopeSet::granted("atproto future:thing?x=1 repo:app.bsky.feed.post");
        assert!(granted.has_atproto());
        assert_eq!(granted.to_string(), "atproto future:thing?x=1 repo:app.bsky.feed.post");
        assert!(!ScopeSet::granted("repo:*").has_atproto());
        assert!(!ScopeSet::granted("ATPROTO atproto2").has_atproto());
    }

    #[test]
    fn text_is_kept_but_meaning_is_compared() {
        let written = ScopeSet::granted("atproto repo?collection=app.bsky.feed.post");
        assert_eq!(written.to_string(), "atproto repo?collection=app.bsky.feed.post");
        assert_eq!(written.canonical(), "atproto repo:app.bsky.feed.post");
        assert!(written.contains(&Scope::parse("repo:app.bsky.feed.post")));
    }

    #[test]
    fn subsets_follow_the_meaning_of_the_whole_set() {
        let all = ScopeSet::granted(
            "atproto repo:app.bsky.feed.post?action=create repo:app.bsky.feed.post?action=delete blob:image/*",
        );
        for inside in [
            "atproto",
            "repo:app.bsky.feed.post?action=create&action=delete",
            "blob:image/png",
            "blob?accept=image/png&accept=image/gif",
            "",
        ] {
            assert!(ScopeSet::granted(inside).is_subset_of(&all), "{inside}");
        }
        for outside in [
            "repo:app.bsky.feed.post",
            "repo:*?action=create",
            "blob:video/mp4",
            "blob?accept=image/png&accept=video/mp4",
            "atproto transition:email",
            "unknown",
        ] {
            assert!(!ScopeSet::granted(outside).is_subset_of(&all), "{outside}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(text in "(repo|rpc|blob|account|identity|include|x)(:[!-~]{0,12})?(\\?(collection|action|aud|lxm|accept)=[!-~]{0,12}(&(action|aud|accept)=[a-z*/.]{0,9})?)?") {
            let scope = Scope::parse(&text);
            prop_assert_eq!(Scope::parse(&scope.to_string()), scope);
        }

        #[test]
        fn known_scopes_survive_printing(
            collections in prop::collection::btree_set("[a-z]{2,5}\\.[a-z]{2,5}\\.[a-zA-Z]{1,9}", 0..4),
            actions in prop::sample::subsequence(vec!["create", "update", "delete"], 1..=3),
        ) {
            let mut pairs: Vec<String> = collections.iter().map(|name| format!("collection={name}")).collect();
            if pairs.is_empty() {
                pairs.push("collection=*".to_owned());
            }
            pairs.extend(actions.iter().map(|action| format!("action={action}")));
            let text = format!("repo?{}", pairs.join("&"));
            let scope = Scope::parse(&text);
            prop_assert!(matches!(scope, Scope::Repo(_)), "{}", text);
            prop_assert_eq!(&Scope::parse(&scope.to_string()), &scope);
            prop_assert!(scope.covers(&scope));
            prop_assert!(ScopeSet::granted("repo:*").covers(&scope));
        }

        #[test]
        fn parsing_any_text_never_panics_and_keeps_its_words(text: String) {
            let set = ScopeSet::granted(&text);
            prop_assert_eq!(ScopeSet::granted(&set.to_string()), set.clone());
            prop_assert!(set.is_subset_of(&set));
        }
    }
}
