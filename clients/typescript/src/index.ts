/**
 * Sign in with the AT Protocol through a Bowerbird server, and call its API.
 *
 * @packageDocumentation
 */
export { Accounts, type ActivatedAccount, type AddAccountOptions, type AppPasswordOptions } from './accounts.js'
export { BowerbirdClient, type ClientOptions, type Session, type SignInUrlOptions } from './client.js'
export type { Clock } from './clock.js'
export { type DeviceOptions, Devices } from './devices.js'
export {
  BowerbirdError,
  type CallbackCode,
  CallbackError,
  type ErrorFacts,
  MistakeError,
  OfflineError,
  RateLimitedError,
  RefusedError,
  ServerError,
  SignInRequiredError,
  StoreError,
  UnknownAccountError,
  XrpcError,
} from './errors.js'
export type { AccessEvent, BowerbirdEvent, MissedEvent } from './events.js'
export type { Params, ParamValue } from './query.js'
export type { RandomBytes } from './random.js'
export { NETWORK_PAUSES, SERVER_PAUSES } from './recovery.js'
export type {
  AccountOnDevice,
  AccountStatus,
  AuthType,
  DevicesBody,
  ListedAccount,
  ListedDevice,
  SecurityEventBody,
  SecurityEventsBody,
  TokenHealth,
  TokenState,
} from './schema.js'
export type { SignedIn, SignInOptions, StartedSignIn } from './sign-in.js'
export {
  type ExpoSecureStore,
  expoSecureStore,
  MemoryStore,
  type ReactNativeKeychain,
  reactNativeKeychain,
  type SecureStore,
} from './store.js'
export type { Fetch } from './transport.js'
export { type BinaryBody, type ProcedureOptions, Xrpc, type XrpcOptions } from './xrpc.js'
