// Knobs of the PDS' authorization server that no setting reaches. Every one is a plain property of the published packages,
// which is why their versions are pinned.
import { randomBytes } from 'node:crypto'

const { DpopNonce } = await import(new URL('../node_modules/@atproto/oauth-provider/dist/dpop/dpop-nonce.js', import.meta.url))

/** Lifetimes that can be changed while the server runs. */
export async function lifetimes(provider) {
  const client = Object.getPrototypeOf(await provider.clientManager.getClient('http://localhost'))
  const current = {}
  const nonceSecret = (rotationMs) => { provider.dpopManager.dpopNonce = new DpopNonce(randomBytes(32), rotationMs) }
  function set(wanted) {
    if (wanted.accessTtlMs !== undefined) provider.tokenManager.tokenMaxAge = current.accessTtlMs = wanted.accessTtlMs
    if (wanted.dpopRotationMs !== undefined) nonceSecret((current.dpopRotationMs = wanted.dpopRotationMs))
    for (const [name, property] of [['sessionLifetimeMs', 'sessionLifetime'], ['refreshLifetimeMs', 'refreshLifetime']]) {
      if (wanted[name] === undefined) continue
      current[name] = wanted[name]
      Object.defineProperty(client, property, { get: () => current[name], configurable: true })
    }
    return current
  }
  return { current, set, newNonceSecret: () => nonceSecret(current.dpopRotationMs ?? 60_000) }
}

/** Takes client metadata as it is, `http://127.0.0.1:PORT/…` client ids too. For tests of what the rules hide, never the default. */
export function acceptAnyClient(provider) {
  const { clientManager } = provider
  const fetchMetadata = globalThis.fetch
  clientManager.validateClientMetadata = (_id, metadata) => metadata
  clientManager.store = { findClient: async (id) => (await fetchMetadata(id)).json() }
}

/** The grants of an account as the server has them, without any secret. */
export async function grants(provider, did) {
  const all = await provider.tokenManager.listAccountTokens(did)
  return all.map(({ id, data }) => ({
    id,
    clientId: data.clientId,
    auth: data.clientAuth?.method,
    scope: data.scope,
    createdAt: data.createdAt,
    updatedAt: data.updatedAt,
    expiresAt: data.expiresAt,
  }))
}

/** Ends every grant of an account, as its owner would in the PDS' own pages. */
export async function revokeAll(provider, did) {
  const all = await provider.tokenManager.listAccountTokens(did)
  for (const { id } of all) await provider.tokenManager.deleteToken(id)
  return { revoked: all.length }
}

/** Forgets a client's metadata, and its keys when their address is given; both are kept for ten minutes otherwise. */
export async function forgetClient(provider, id, jwks) {
  await provider.clientManager.metadataGetter.delStored(id)
  if (jwks) await provider.clientManager.jwks.delStored(jwks)
}
