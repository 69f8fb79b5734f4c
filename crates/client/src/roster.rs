//! Which accounts are on this device, in the store and in memory.
//!
//! The order of writing is such that an app that is stopped in between never leaves a secret behind that no account of
//! the list belongs to: on the way in the list comes before the secret, on the way out the secret goes before the list.

use bowerbird_core::{AccountId, Did, Secret, Timestamp};
use serde::{Deserialize, Serialize};

use crate::keys::{IDS_ON_A_PAGE, Namespace, StoreKey};
use crate::session::Session;
use crate::store::{SecureStore, StoreFault};

/// The most accounts on one device.
pub const MAX_ACCOUNTS: usize = 500;

/// An account on this device. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Names it on this device: stays through a new sign-in and a change of handle.
    pub id: AccountId,
    /// Whose it is.
    pub did: Did,
    /// The handle, as of the last sign-in or check.
    pub handle: String,
    /// The address of its server.
    pub pds: Option<String>,
    /// Who keeps its tokens.
    pub kind: AccountKind,
    /// When it came to this device.
    pub added_at: Timestamp,
    /// When its sign-in ends at the latest, for one that the device keeps: the person must have signed in again by then.
    pub session_ends_at: Option<Timestamp>,
    /// Why the person must sign in again, if so: see [`crate::KitError::SignInRequired`].
    pub needs_sign_in: Option<String>,
}

/// Who keeps an account's tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AccountKind {
    /// The Bowerbird server; the device has a seal.
    #[default]
    Server,
    /// This device, as an OAuth client of its own.
    OnDevice,
}

impl AccountKind {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde wants")]
    fn is_server(&self) -> bool {
        *self == Self::Server
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    did: Did,
    handle: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pds: Option<String>,
    #[serde(default, skip_serializing_if = "AccountKind::is_server")]
    kind: AccountKind,
    added_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session_ends_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    needs_sign_in: Option<String>,
}

/// The list, with the store behind it.
pub(crate) struct Roster {
    accounts: Vec<Account>,
    active: Option<AccountId>,
}

/// The store, under the app's own names.
pub(crate) struct Shelf<'a> {
    pub(crate) store: &'a dyn SecureStore,
    pub(crate) namespace: &'a Namespace,
}

impl Shelf<'_> {
    pub(crate) fn load(&self, key: StoreKey) -> Result<Option<Secret>, StoreFault> {
        self.store.load(&self.namespace.name(key))
    }

    pub(crate) fn save(&self, key: StoreKey, secret: &Secret) -> Result<(), StoreFault> {
        self.store.save(&self.namespace.name(key), secret)
    }

    pub(crate) fn delete(&self, key: StoreKey) -> Result<(), StoreFault> {
        self.store.delete(&self.namespace.name(key))
    }

    pub(crate) fn session(&self, id: AccountId) -> Result<Option<Session>, StoreFault> {
        self.load(StoreKey::Session(id))?.map(|kept| Session::from_secret(&kept)).transpose()
    }
}

impl Roster {
    /// Reads the list. An account whose profile is missing was being added or removed when the app stopped: it is gone.
    pub(crate) fn read(shelf: &Shelf<'_>) -> Result<Self, StoreFault> {
        let mut roster = Self { accounts: Vec::new(), active: None };
        let (mut pages, mut is_tidy) = (0, true);
        for page in 0..MAX_ACCOUNTS / IDS_ON_A_PAGE {
            let Some(page) = shelf.load(index(page))? else { break };
            pages += 1;
            for id in page.expose().split(',').filter(|id| !id.is_empty()) {
                let id = AccountId::parse(id).map_err(|_| StoreFault::Damaged("the list of accounts"))?;
                // On two pages, or without a profile: something was cut off.
                let profile = shelf.load(StoreKey::Profile(id))?.filter(|_| roster.get(id).is_none());
                let Some(profile) = profile else {
                    is_tidy = false;
                    continue;
                };
                let profile =
                    serde_json::from_str(profile.expose()).map_err(|_| StoreFault::Damaged("an account's profile"))?;
                let Profile { did, handle, pds, kind, added_at, session_ends_at, needs_sign_in } = profile;
                let account = Account { id, did, handle, pds, kind, added_at, session_ends_at, needs_sign_in };
                roster.accounts.push(account);
            }
        }
        if !is_tidy || pages > roster.pages() {
            // An account must stand on the page that its place in the list says, or the next change would lose one.
            roster.write_pages_from(0, shelf)?;
            for page in roster.pages()..pages {
                shelf.delete(index(page))?;
            }
        }
        let active = shelf.load(StoreKey::Active)?.and_then(|id| AccountId::parse(id.expose()).ok());
        roster.active = active.filter(|id| roster.get(*id).is_some()).or(roster.accounts.first().map(|first| first.id));
        Ok(roster)
    }

    pub(crate) fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    pub(crate) fn active(&self) -> Option<AccountId> {
        self.active
    }

    pub(crate) fn get(&self, id: AccountId) -> Option<&Account> {
        self.accounts.iter().find(|account| account.id == id)
    }

    pub(crate) fn by_did(&self, did: &Did) -> Option<&Account> {
        self.accounts.iter().find(|account| account.did == *did)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.accounts.len() >= MAX_ACCOUNTS
    }

    /// Adds an account, or replaces what is known of it.
    pub(crate) fn put(&mut self, shelf: &Shelf<'_>, account: Account) -> Result<(), StoreFault> {
        if let Some(known) = self.accounts.iter_mut().find(|known| known.id == account.id) {
            write_profile(shelf, &account)?;
            *known = account;
            return Ok(());
        }
        let id = account.id;
        self.accounts.push(account.clone());
        let page = (self.accounts.len() - 1) / IDS_ON_A_PAGE;
        if let Err(fault) = self.write_page(page, shelf).and_then(|()| write_profile(shelf, &account)) {
            self.accounts.pop();
            return Err(fault);
        }
        if self.active.is_none() {
            self.activate(shelf, id)?;
        }
        Ok(())
    }

    /// Makes an account the active one; it must be in the list.
    pub(crate) fn activate(&mut self, shelf: &Shelf<'_>, id: AccountId) -> Result<(), StoreFault> {
        shelf.save(StoreKey::Active, &Secret::new(id.to_string()))?;
        self.active = Some(id);
        Ok(())
    }

    /// Notes whether the person must sign in again.
    pub(crate) fn mark(&mut self, shelf: &Shelf<'_>, id: AccountId, reason: Option<&str>) -> Result<(), StoreFault> {
        let Some(account) = self.accounts.iter_mut().find(|account| account.id == id) else { return Ok(()) };
        if account.needs_sign_in.as_deref() == reason {
            return Ok(());
        }
        account.needs_sign_in = reason.map(str::to_owned);
        write_profile(shelf, account)
    }

    /// Takes an account and everything of it away: the secrets first, of either kind.
    pub(crate) fn remove(&mut self, shelf: &Shelf<'_>, id: AccountId) -> Result<(), StoreFault> {
        shelf.delete(StoreKey::Session(id))?;
        shelf.delete(StoreKey::Grant(id))?;
        shelf.delete(StoreKey::Profile(id))?;
        let Some(place) = self.accounts.iter().position(|account| account.id == id) else { return Ok(()) };
        self.accounts.remove(place);
        if self.active == Some(id) {
            self.active = None;
            match self.accounts.first().map(|first| first.id) {
                Some(next) => self.activate(shelf, next)?,
                None => shelf.delete(StoreKey::Active)?,
            }
        }
        self.write_pages_from(place / IDS_ON_A_PAGE, shelf)?;
        if self.accounts.len().is_multiple_of(IDS_ON_A_PAGE) {
            shelf.delete(index(self.pages()))?;
        }
        Ok(())
    }

    fn pages(&self) -> usize {
        self.accounts.len().div_ceil(IDS_ON_A_PAGE)
    }

    /// Those behind a removed one move up, the first of each page to the page before. That one is written first, so that
    /// an id stands on two pages for a moment, never on none.
    fn write_pages_from(&self, first: usize, shelf: &Shelf<'_>) -> Result<(), StoreFault> {
        (first..self.pages()).try_for_each(|page| self.write_page(page, shelf))
    }

    fn write_page(&self, page: usize, shelf: &Shelf<'_>) -> Result<(), StoreFault> {
        let ids = self.accounts.iter().skip(page * IDS_ON_A_PAGE).take(IDS_ON_A_PAGE);
        let ids: Vec<String> = ids.map(|account| account.id.to_string()).collect();
        shelf.save(index(page), &Secret::new(ids.join(",")))
    }
}

fn index(page: usize) -> StoreKey {
    // MAX_ACCOUNTS makes ten pages.
    StoreKey::Index(u8::try_from(page).unwrap_or(u8::MAX))
}

fn write_profile(shelf: &Shelf<'_>, account: &Account) -> Result<(), StoreFault> {
    let Account { did, handle, pds, kind, added_at, session_ends_at, needs_sign_in, .. } = account.clone();
    let profile = Profile { did, handle, pds, kind, added_at, session_ends_at, needs_sign_in };
    let text = serde_json::to_string(&profile).map_err(|_| StoreFault::Damaged("a profile cannot be written"))?;
    shelf.save(StoreKey::Profile(account.id), &Secret::new(text))
}
