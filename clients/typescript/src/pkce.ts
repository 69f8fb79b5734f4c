import { base64url } from './base64url.js'
import type { RandomBytes } from './random.js'
import { sha256 } from './sha256.js'

/** How many random bytes a verifier is made of: the longest one that RFC 7636 allows. */
const VERIFIER_BYTES = 96

/** A proof that whoever ends a sign-in is the one who began it (RFC 7636). */
export interface Pkce {
  /** Kept on the device until the end. A secret. */
  readonly verifier: string
  /** Sent at the beginning. */
  readonly challenge: string
}

/** Makes one for the method S256. */
export function makePkce(random: RandomBytes): Pkce {
  const verifier = base64url(random(VERIFIER_BYTES))
  return { verifier, challenge: challengeOf(verifier) }
}

/** The challenge that belongs to a verifier. */
export function challengeOf(verifier: string): string {
  return base64url(sha256(verifier))
}
