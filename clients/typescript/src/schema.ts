// Made by `cargo xtask gen` from docs/src/reference/openapi.json; change the routes in the server, not this file.

/** An account on a listed device. */
export interface AccountOnDevice {
  /** The DID. */
  did: string
  /** The handle. */
  handle: string
  /** The stable name. */
  id: string
}

/** How an account stands. */
export type AccountStatus = 'ok' | 'needs_reauth'

/** The accounts of a device. */
export interface AccountsBody {
  /** Oldest first. */
  accounts: ListedAccount[]
}

/** Which account. */
export interface AddAccountBody {
  /** A handle, a DID, or the address of a server. */
  handle: string
  /** `login`, `consent`, `select_account`, `create` or `none`. */
  prompt?: string | null
  /** The path to return to. */
  redirect?: string | null
}

/** Where the person goes. */
export interface AddedAccountBody {
  /** The page of the authorization server to open, in the browser that made this call. */
  authUrl: string
  /** Until when the person can come back, in milliseconds since 1970. */
  expiresAt: number
  /** The handle, as it was verified. */
  handle?: string | null
}

/** Who signs in. */
export interface AppPasswordBody {
  /** The code that the account's server sent by mail, when it asks for one. */
  authFactorToken?: string | null
  /** A handle or a DID. */
  identifier: string
  /** An app password. It is sent to the account's own server and kept nowhere. */
  password: string
}

/** What an app sends to begin. Values of another type than text count as missing. */
export interface AppStartBody {
  /** The S256 challenge of the app's own verifier (RFC 7636). */
  code_challenge?: string | null
  /** `S256`. */
  code_challenge_method?: string | null
  /** A handle, a DID, or the address of a server. */
  handle?: string
  /** `login`, `consent`, `select_account`, `create` or `none`. */
  prompt?: string | null
  /** Where the app waits: one of the addresses that the operator listed, the first of them by itself. */
  redirect_uri?: string | null
}

/** What an app keeps. None of it is a token of the account's server. */
export interface AppTokensBody {
  /** A seal for the next calls, as bearer. */
  accessToken: string
  /** Its DID. */
  did: string
  /** Seconds that `accessToken` lasts. */
  expiresIn: number
  /** The account's handle. */
  handle: string
  /** The address of its server. */
  pds: string
  /** What the next exchange is made with. This one stays valid until its successor is used for the first time. */
  refreshToken: string
  /** A seal for the whole life of the session, for an app that keeps a cookie named `sid`. */
  sid: string
}

/** Where the person goes. */
export interface AuthStartedBody {
  /** The page of the authorization server, to be opened in the system's browser. */
  authUrl: string
  /** The handle, as it was verified; null when the sign-in began with a DID or a server. */
  handle?: string | null
}

/** How an account signed in. */
export type AuthType = 'oauth' | 'app_password'

/** The devices of some accounts. */
export interface DevicesBody {
  /** This one first, then the one used last; a hundred at most. */
  devices: ListedDevice[]
  /** How many there are. */
  total: number
}

/** The JSON object of an error. */
export interface ErrorBody {
  /** A stable code. */
  error: string
  /** What to do about it. */
  hint?: string | null
  /** What happened, for a person. */
  message: string
  /** Names this answer in the server's log. */
  request_id: string
}

/** An account of a device. */
export interface ListedAccount {
  /** Whether calls use this account unless they name another. */
  active: boolean
  /** When it was added to this device, in milliseconds since 1970. */
  addedAt: number
  /** How it signed in; left out when it is not connected. */
  authType?: AuthType | null
  /** The address of the picture. */
  avatar?: string | null
  /** The DID. */
  did: string
  /** The display name. */
  displayName?: string | null
  /** The handle; `handle.invalid` when it does not point back to the DID. */
  handle: string
  /** The stable name. */
  id: string
  /** When it last signed in here, in milliseconds since 1970. */
  lastLoginAt: number
  /** The account's server. */
  pds: string
  /** Why it needs the person. */
  reason?: string | null
  /** Where the person repairs it. */
  repairUrl?: string | null
  /** The access as it was granted, which may be less than was asked for. */
  scope?: string | null
  /** How it stands. */
  status: AccountStatus
  /** Where the person replaces an app password by OAuth. The account stays the same one. */
  upgradeUrl?: string | null
}

/** A device as a list shows it. */
export interface ListedDevice {
  /** Those of its accounts that are signed in on the device that asks, too. */
  accounts: AccountOnDevice[]
  /** Whether it is the one that asks. */
  current: boolean
  /** Names the device until somebody signs in on it again. It opens nothing. */
  id: string
  /** When it was last used, to within five minutes, in milliseconds since 1970. */
  lastSeenAt: number
  /** A name for people, from what the app said when it signed in. */
  name: string
  /** The system, where it is known. */
  platform?: string | null
  /** When the first of these accounts came to it, in milliseconds since 1970. */
  signedInAt: number
}

/** Where the person goes. */
export interface MobileStartedBody {
  /** The page of the authorization server, to be opened in the browser that made this call. */
  authUrl: string
  /** Always true here. */
  success: boolean
}

/** A fresh seal. */
export interface RefreshedBody {
  /** What to keep instead of the seal that was sent. */
  payload: RefreshedPayload
  /** Always true here. */
  success: boolean
}

/** What an app keeps. */
export interface RefreshedPayload {
  /** The active account's DID. */
  did: string
  /** The seal, for the session's whole life from now. */
  sid: string
}

/** An entry. */
export interface SecurityEventBody {
  /** Whose account. */
  accountId: string
  /** When, in milliseconds since 1970. */
  at: number
  /** The device from which it was done, where that is another one. */
  byDevice?: string | null
  /** The device that it is about. */
  deviceName?: string | null
  /** Names it. */
  id: string
  /** One sentence for a person. */
  message: string
  /** Why the person was needed: a code. */
  reason?: string | null
  /** `signed_in`, `signed_out`, `signed_out_remotely`, `needs_reauth`, `outcome_unknown` or `recovered`. */
  type: string
}

/** A piece of the history. */
export interface SecurityEventsBody {
  /** The latest first. */
  events: SecurityEventBody[]
  /** What `before` must be for the next piece; left out at the end. */
  next?: string | null
}

/** A good session. */
export interface SessionBody {
  /** Null, unless tokens are shown for debugging on a loopback address. */
  accessToken?: string | null
  /** The address of its picture. */
  avatar?: string | null
  /** The active account's DID. */
  did: string
  /** Its display name. */
  displayName?: string | null
  /** When the session ends unless it is used again, in milliseconds since 1970. */
  expiresAt: number
  /** Its handle. */
  handle: string
  /** Null, always: a refresh token never leaves the server. */
  refreshToken?: string | null
  /** The same, under its older name. */
  userHandle: string
  /** Always true here. */
  valid: boolean
}

/** Which devices. */
export interface SignOutBody {
  which: WhichDevices
}

/** The account, as the list shows it. */
export type SignedInAccountBody = ListedAccount & {
  /** The new seal of a client that showed its seal as a bearer; the one that it showed is dead. Others get a cookie. */
  seal?: string | null
}

/** How many devices were left. */
export interface SignedOutBody {
  /** The devices that the accounts were taken off. */
  ended: number
  /** Always true here. */
  success: boolean
}

/** How the tokens of one platform stand. */
export interface TokenHealth {
  /** How the account signed in; left out when there are no tokens. */
  authType?: AuthType | null
  /** What is wrong, in a sentence; `No tokens found` when there are none. */
  error?: string | null
  /** Seconds until the present access token ends; 0 when it has. */
  expiresIn: number
  /** Whether the present access token can be used: it has not ended, and the person need not sign in again. */
  isValid: boolean
  /** When the tokens were last renewed; left out as long as they are those of the sign-in. */
  lastRefreshed?: string | null
  /** Whether less than a fifth of the access token's life is left. The server renews it by itself. */
  needsRefresh: boolean
  /** The platform. */
  platform: string
  /** Why it needs the person: a code. */
  reason?: string | null
  /** When the server means to renew the tokens. */
  refreshesAt?: string | null
  /** Where the person repairs exactly this account. */
  repairLink?: string | null
  /** How the access stands. */
  state: TokenState
  /** Where the person replaces an app password by OAuth. */
  upgradeLink?: string | null
}

/** How an access stands. */
export type TokenState = 'ok' | 'refreshing' | 'unknown' | 'needs_reauth' | 'not_connected'

/** What is exchanged: a code, or a refresh string. */
export interface TokensBody {
  /** The code that came to the app's address. */
  code?: string | null
  /** The verifier of the challenge that the sign-in began with. */
  codeVerifier?: string | null
  /** The refresh string of the last exchange, instead of a code. */
  refreshToken?: string | null
}

/** A good session. */
export interface ValidateBody {
  /** The active account's DID. */
  did: string
  /** Its handle. */
  handle: string
  /** Always true here. */
  valid: boolean
}

/** Which devices. */
export type WhichDevices = 'others' | 'all'

/** What the window would have told. */
export interface WindowEndBody {
  /** Who: the DID. */
  did?: string | null
  /** Why nobody did: a code, such as `access_denied`. */
  error?: string | null
  /** Who: the handle. */
  handle?: string | null
  /** Whether somebody signed in. */
  success: boolean
  /** When, in milliseconds since 1970. */
  timestamp: number
  /** `oauth-callback`. */
  type: string
}

/** How each operation is called. */
export const routes = {
  /** Lists the accounts of this device */
  listAccounts: { method: 'GET', path: '/api/accounts' },
  /** Begins to add an account to this device */
  addAccount: { method: 'POST', path: '/api/accounts' },
  /** Signs an account in with an app password */
  signInWithAppPassword: { method: 'POST', path: '/api/accounts/app-password' },
  /** Takes an account off this device */
  removeAccount: { method: 'DELETE', path: '/api/accounts/{id}' },
  /** Finds an account of this device */
  findAccount: { method: 'GET', path: '/api/accounts/{id}' },
  /** Makes an account of this device the active one */
  activateAccount: { method: 'POST', path: '/api/accounts/{id}/activate' },
  /** The picture of an account of this device */
  accountAvatar: { method: 'GET', path: '/api/accounts/{id}/avatar' },
  /** Signs this device out */
  logout: { method: 'POST', path: '/api/auth/logout' },
  /** Begins a sign-in for an app, by the older contract */
  startMobileLogin: { method: 'POST', path: '/api/auth/mobile-start' },
  /** Checks the session and extends it */
  getSession: { method: 'GET', path: '/api/auth/session' },
  /** Begins a sign-in for an app */
  startAppLogin: { method: 'POST', path: '/api/auth/start' },
  /** Exchanges a code, or a refresh string, for a session */
  exchangeTokens: { method: 'POST', path: '/api/auth/tokens' },
  /** Tells what came of a sign-in in a window */
  windowEnd: { method: 'GET', path: '/api/auth/window-end' },
  /** Lists the devices on which the accounts of this device are signed in */
  listDevices: { method: 'GET', path: '/api/devices' },
  /** Signs the accounts of this device out of all other devices, or of all */
  signOutDevices: { method: 'POST', path: '/api/devices/sign-out' },
  /** Signs the accounts of this device out of one device */
  signOutDevice: { method: 'DELETE', path: '/api/devices/{device}' },
  /** Follows what happens to this device's accounts */
  followEvents: { method: 'GET', path: '/api/events' },
  /** Tells what happened to the accounts of this device */
  listSecurityEvents: { method: 'GET', path: '/api/security-events' },
  /** Tells how the tokens of an account stand */
  tokenHealth: { method: 'GET', path: '/api/tokens/health' },
  /** Gives a fresh seal, and extends the session */
  refreshSeal: { method: 'GET', path: '/mobile/refresh-token' },
  /** Gives a fresh seal, and extends the session */
  refreshSealByPost: { method: 'POST', path: '/mobile/refresh-token' },
  /** Checks the session */
  validateSession: { method: 'GET', path: '/validate-session' },
  /** Calls a query of the account's server */
  query: { method: 'GET', path: '/xrpc/{nsid}' },
  /** Calls a procedure of the account's server */
  procedure: { method: 'POST', path: '/xrpc/{nsid}' },
} as const

/** What each operation takes and answers, where that is JSON. */
export interface Operations {
  /** Lists the accounts of this device */
  listAccounts: { body: undefined; answer: AccountsBody }
  /** Begins to add an account to this device */
  addAccount: { body: AddAccountBody; answer: AddedAccountBody }
  /** Signs an account in with an app password */
  signInWithAppPassword: { body: AppPasswordBody; answer: SignedInAccountBody }
  /** Takes an account off this device */
  removeAccount: { body: undefined; answer: unknown }
  /** Finds an account of this device */
  findAccount: { body: undefined; answer: ListedAccount }
  /** Makes an account of this device the active one */
  activateAccount: { body: undefined; answer: unknown }
  /** The picture of an account of this device */
  accountAvatar: { body: undefined; answer: unknown }
  /** Signs this device out */
  logout: { body: undefined; answer: unknown }
  /** Begins a sign-in for an app, by the older contract */
  startMobileLogin: { body: AppStartBody; answer: MobileStartedBody }
  /** Checks the session and extends it */
  getSession: { body: undefined; answer: SessionBody }
  /** Begins a sign-in for an app */
  startAppLogin: { body: AppStartBody; answer: AuthStartedBody }
  /** Exchanges a code, or a refresh string, for a session */
  exchangeTokens: { body: TokensBody; answer: AppTokensBody }
  /** Tells what came of a sign-in in a window */
  windowEnd: { body: undefined; answer: WindowEndBody }
  /** Lists the devices on which the accounts of this device are signed in */
  listDevices: { body: undefined; answer: DevicesBody }
  /** Signs the accounts of this device out of all other devices, or of all */
  signOutDevices: { body: SignOutBody; answer: SignedOutBody }
  /** Signs the accounts of this device out of one device */
  signOutDevice: { body: undefined; answer: unknown }
  /** Follows what happens to this device's accounts */
  followEvents: { body: undefined; answer: unknown }
  /** Tells what happened to the accounts of this device */
  listSecurityEvents: { body: undefined; answer: SecurityEventsBody }
  /** Tells how the tokens of an account stand */
  tokenHealth: { body: undefined; answer: TokenHealth[] }
  /** Gives a fresh seal, and extends the session */
  refreshSeal: { body: undefined; answer: RefreshedBody }
  /** Gives a fresh seal, and extends the session */
  refreshSealByPost: { body: undefined; answer: RefreshedBody }
  /** Checks the session */
  validateSession: { body: undefined; answer: ValidateBody }
  /** Calls a query of the account's server */
  query: { body: undefined; answer: unknown }
  /** Calls a procedure of the account's server */
  procedure: { body: undefined; answer: unknown }
}
