import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import {
  type BowerbirdEvent,
  BowerbirdClient,
  CallbackError,
  type Fetch,
  MemoryStore,
  MistakeError,
  RefusedError,
  SignInRequiredError,
  UnknownAccountError,
  XrpcError,
} from 'bowerbird-client'
import { rejection } from '../support.js'
import { BASE, control, eventually, fromTestnet, hurry, PDS, person, throughTheBrowser } from './network.js'

const [alice, bob, carla] = [person('alice.test'), person('bob.test'), person('carla.test')]
const NAME = 'com.example.app.session'
const REDIRECT = 'myapp://auth-callback'

/** An app on a device of its own; counts its requests, and loses answers if it is told to. */
function device(store = new MemoryStore()) {
  const told: string[] = []
  const sent: string[] = []
  let toLose = ''
  const fetch: Fetch = async (input, init) => {
    const call = `${init.method} ${input.slice(BASE.length).split('?')[0]}`
    sent.push(call)
    const answer = await globalThis.fetch(input, init)
    if (toLose !== call) return answer
    toLose = ''
    throw new TypeError('the answer got lost')
  }
  const client = new BowerbirdClient({
    baseUrl: BASE,
    store,
    fetch,
    clock: hurry,
    redirect: REDIRECT,
    namespace: 'com.example.app',
    onSignInRequired: ({ reason }) => told.push(reason),
  })
  const signIn = async (who: typeof alice) => {
    const { authUrl } = await client.startSignIn({ handle: who.handle })
    return client.finishSignIn(await throughTheBrowser(authUrl, who))
  }
  const kept = async () => JSON.parse((await store.load(NAME)) ?? 'null') as Record<string, string | number> | null
  /** As if an hour had gone by: the seal that is kept has ended. */
  const anHourLater = async () => {
    await store.save(NAME, JSON.stringify({ ...(await kept()), issuedAt: 0, expiresAt: 1 }))
    return device(store)
  }
  const lose = (call: string) => (toLose = call)
  const renewals = () => sent.filter((call) => call === 'POST /api/auth/tokens').length
  return { client, store, told, sent, signIn, kept, anHourLater, lose, renewals }
}

let app = device()
before(async () => {
  assert.equal(await app.client.session(), null)
})

test('a person signs in, by a browser that is not the app', async () => {
  const { authUrl, handle } = await app.client.startSignIn({ handle: `@${alice.handle}` })
  assert.equal(handle, alice.handle)
  assert.ok(authUrl.startsWith(PDS), authUrl)
  const callback = await throughTheBrowser(authUrl, alice)
  assert.match(callback, /^myapp:\/\/auth-callback\?code=/)
  assert.deepEqual(await app.client.finishSignIn(callback), { did: alice.did, handle: alice.handle, pds: PDS })
  // The system delivers it twice.
  assert.equal((await app.client.finishSignIn(callback)).did, alice.did)
  const session = await app.client.session()
  assert.deepEqual([session?.did, session?.handle], [alice.did, alice.handle])
  assert.ok((session?.expiresAt ?? 0) > Date.now())
  assert.equal(await app.client.validate(), true)
  assert.deepEqual(app.told, [])
})

test('without a handle, the page that asks for it takes what the client sends', async () => {
  const other = device()
  const { authUrl } = await other.client.startSignIn({})
  const page = await fetch(authUrl, { headers: { accept: 'text/html' } })
  const text = await page.text()
  assert.equal(page.status, 200, text)
  const challenge = new URL(authUrl).searchParams.get('code_challenge')
  assert.ok(challenge && text.includes(`value="${challenge}"`) && text.includes('value="S256"'), text)
  const form = new URLSearchParams({ handle: bob.handle, mobile: 'true' })
  for (const [name, value] of new URL(authUrl).searchParams) form.set(name, value)
  const begun = await fetch(`${BASE}/login?${form}`, { redirect: 'manual' })
  const cookie = begun.headers.getSetCookie().map((line) => line.split(';')[0]).join('; ')
  const callback = await throughTheBrowser(begun.headers.get('location') ?? '', bob, { cookie })
  assert.equal((await other.client.finishSignIn(callback)).did, bob.did)
  await other.client.signOut()
})

test('a code is worth nothing to another app, and nothing twice', async () => {
  const victim = device()
  const { authUrl } = await victim.client.startSignIn({ handle: alice.handle })
  const callback = await throughTheBrowser(authUrl, alice)
  const thief = device()
  await thief.client.startSignIn({ handle: bob.handle })
  assert.equal((await rejection(thief.client.finishSignIn(callback), RefusedError)).code, 'code_verifier_mismatch')
  assert.equal(await thief.client.session(), null)
  assert.equal((await victim.client.finishSignIn(callback)).did, alice.did)
  await victim.client.signOut()
  assert.equal(await victim.client.session(), null)
})

test('who says no is told so, and may say yes', async () => {
  const other = device()
  const { authUrl } = await other.client.startSignIn({ handle: bob.handle })
  const denied = await throughTheBrowser(authUrl, bob, { deny: true })
  const error = await rejection(other.client.finishSignIn(denied), CallbackError)
  assert.deepEqual([error.code, error.error], ['refused', 'access_denied'])
  assert.equal((await other.signIn(bob)).did, bob.did)
  await other.client.signOut()
})

test('a beginning that fails says why', async () => {
  const unknown = await rejection(device().client.startSignIn({ handle: 'nobody-of-that-name.test' }), RefusedError)
  assert.equal(unknown.code, 'handle_not_found')
  const unlisted = new BowerbirdClient({ baseUrl: BASE, store: new MemoryStore(), redirect: 'evil://auth' })
  assert.equal((await rejection(unlisted.startSignIn({ handle: alice.handle }), RefusedError)).code, 'redirect_not_registered')
})

test('methods of the own server: reading, writing, pictures, errors', async () => {
  const { xrpc } = app.client
  assert.equal((await xrpc.query<{ did: string }>('com.atproto.server.getSession')).did, alice.did)
  const record = { $type: 'app.bsky.feed.post', text: 'from an app', createdAt: new Date().toISOString() }
  const body = { repo: alice.did, collection: 'app.bsky.feed.post', record }
  const { uri, cid } = await xrpc.procedure<{ uri: string; cid: string }>('com.atproto.repo.createRecord', body)
  const [, , , , rkey = ''] = uri.split('/')
  const params = { repo: alice.did, collection: 'app.bsky.feed.post', rkey }
  const read = await xrpc.query<{ cid: string; value: { text: string } }>('com.atproto.repo.getRecord', params)
  assert.deepEqual([read.cid, read.value.text], [cid, 'from an app'])

  // Small enough for a picture, large enough to come in pieces.
  const picture = new Uint8Array(300_000).map((_, at) => (at * 7) & 255)
  const uploaded = await xrpc.procedure<{ blob: { ref: { $link: string }; mimeType: string } }>(
    'com.atproto.repo.uploadBlob',
    picture,
    { encoding: 'image/png' },
  )
  assert.equal(uploaded.blob.mimeType, 'image/png')
  const streamed = new Blob([picture]).stream()
  const again = await xrpc.procedure<typeof uploaded>('com.atproto.repo.uploadBlob', streamed, { encoding: 'image/png' })
  assert.equal(again.blob.ref.$link, uploaded.blob.ref.$link)
  const value = { $type: 'app.bsky.actor.profile', displayName: 'Alice', avatar: uploaded.blob }
  await xrpc.procedure('com.atproto.repo.putRecord', { repo: alice.did, collection: value.$type, rkey: 'self', record: value })
  const answer = await xrpc.raw('com.atproto.sync.getBlob', { did: alice.did, cid: uploaded.blob.ref.$link })
  assert.deepEqual(new Uint8Array(await answer.arrayBuffer()), picture)

  const missing = await rejection(xrpc.query('com.atproto.repo.getRecord', { ...params, rkey: 'none' }), XrpcError)
  assert.deepEqual([missing.error, missing.status], ['RecordNotFound', 400])
  const denied = await rejection(xrpc.procedure('com.atproto.server.createAppPassword', { name: 'x' }), RefusedError)
  assert.equal(denied.code, 'method_denied')
  const proxied = xrpc.query('app.bsky.feed.getTimeline', {}, { proxy: 'did:web:evil.example#bsky_appview' })
  assert.equal((await rejection(proxied, RefusedError)).code, 'service_denied')
  assert.deepEqual(app.told, [])
})

test('accounts are added, listed, used side by side, switched and removed', async () => {
  const { accounts } = app.client
  const { authUrl } = await accounts.add({ handle: bob.handle })
  await app.client.finishSignIn(await throughTheBrowser(authUrl, bob))
  const mistake = device().client.accounts.signInWithAppPassword({ identifier: carla.did, password: 'x' })
  await rejection(mistake, MistakeError)
  const wrong = accounts.signInWithAppPassword({ identifier: carla.handle, password: 'aaaa-bbbb-cccc-dddd' })
  assert.equal((await rejection(wrong, RefusedError)).code, 'app_password_invalid')
  const added = await accounts.signInWithAppPassword({ identifier: carla.handle, password: carla.appPassword })
  assert.deepEqual([added.did, added.authType], [carla.did, 'app_password'])

  const listed = await accounts.list()
  assert.deepEqual(listed.map(({ did }) => did).sort(), [alice.did, bob.did, carla.did].sort())
  assert.ok(listed.every(({ status, pds }) => status === 'ok' && pds === PDS))
  const ids = new Map(listed.map(({ did, id }) => [did, id]))
  assert.equal((await accounts.activate(alice.did)).handle, alice.handle)
  assert.equal((await app.client.session())?.did, alice.did)

  const names = [alice.did, bob.did, ids.get(carla.did) ?? '']
  const sessions = names.map((name) => app.client.forAccount(name).query<{ did: string }>('com.atproto.server.getSession'))
  assert.deepEqual((await Promise.all(sessions)).map(({ did }) => did), [alice.did, bob.did, carla.did])
  const stranger = app.client.forAccount('did:plc:ewvi7nxzyoun6zhxrhs64oiz').query('com.atproto.server.getSession')
  await rejection(stranger, UnknownAccountError)
  const health = await app.client.tokenHealth({ account: carla.did })
  assert.deepEqual(health.map(({ platform, state, authType }) => [platform, state, authType]), [['atproto', 'ok', 'app_password']])

  await accounts.remove(carla.did)
  assert.deepEqual((await accounts.list()).length, 2)
  // The app password's sign-in changed the session's name; what renews it went along.
  app = await app.anHourLater()
  assert.equal((await app.client.session())?.did, alice.did)
  assert.equal(app.renewals(), 1)
})

test('the agent of @atproto/api calls by this', async () => {
  const { Agent } = await fromTestnet<{
    Agent: new (session: object) => {
      com: { atproto: { repo: { listRecords(of: object): Promise<{ data: { records: Array<{ uri: string }> } }> } } }
    }
  }>('node_modules/@atproto/api/dist/index.js')
  const agent = new Agent(app.client.forAccount(alice.did))
  const { data } = await agent.com.atproto.repo.listRecords({ repo: alice.did, collection: 'app.bsky.feed.post' })
  assert.equal(data.records.length, 1)
})

test('a crowd with a seal that has ended makes one renewal, and a lost answer costs nothing', async () => {
  app = await app.anHourLater()
  const before = await app.kept()
  app.lose('POST /api/auth/tokens')
  const crowd = Array.from({ length: 20 }, () => app.client.xrpc.query<{ did: string }>('com.atproto.server.getSession'))
  for (const { did } of await Promise.all(crowd)) assert.equal(did, alice.did)
  assert.equal(app.renewals(), 2, 'the one that got lost, and its repetition')
  assert.notEqual((await app.kept())?.['refreshToken'], before?.['refreshToken'])
  assert.deepEqual(app.told, [])
})

test('events come as they happen, and say where the person repairs an account', async () => {
  const stop = new AbortController()
  const seen: BowerbirdEvent[] = []
  const following = (async () => {
    for await (const event of app.client.events(stop.signal)) seen.push(event)
  })()
  await eventually('the stream', () => (app.sent.includes('GET /api/events') ? true : undefined))
  await new Promise((resolve) => setTimeout(resolve, 200))
  await control(`/revoke-all?did=${encodeURIComponent(bob.did)}`)
  const call = app.client.forAccount(bob.did).query('com.atproto.server.getSession')
  const error = await rejection(call, SignInRequiredError)
  assert.deepEqual([error.code, error.sessionEnded, error.reason], ['needs_reauth', false, 'revoked'])
  assert.ok(error.repairUrl?.startsWith(`${BASE}/login/repair/`), error.repairUrl)
  assert.deepEqual(app.told, ['revoked'])
  const event = await eventually('the event', () => seen.find(({ type }) => type === 'needs_reauth'))
  assert.ok(event.type !== 'missed' && 'repairUrl' in event)
  assert.equal(event.repairUrl, error.repairUrl)
  assert.ok(Date.parse(event.occurredAt) > Date.now() - 60_000 && event.message !== '')
  stop.abort()
  await following

  const listed = (await app.client.accounts.list()).find(({ did }) => did === bob.did)
  assert.deepEqual([listed?.status, listed?.reason, listed?.repairUrl], ['needs_reauth', 'revoked', error.repairUrl])
  assert.equal(listed?.id, error.account)
  assert.equal(event.accountId, error.account)
  await app.signIn(bob)
  assert.equal((await app.client.forAccount(bob.did).query<{ did: string }>('com.atproto.server.getSession')).did, bob.did)
})

test('a copied refresh token ends the session, and the app asks for a sign-in', async () => {
  const copy = new MemoryStore()
  await copy.save(NAME, (await app.store.load(NAME)) ?? '')
  app = await app.anHourLater()
  await app.client.session()
  app = await app.anHourLater()
  await app.client.session()

  const thief = await device(copy).anHourLater()
  const error = await rejection(thief.client.accounts.list(), SignInRequiredError)
  assert.deepEqual([error.reason, error.sessionEnded], ['refresh_token_reused', true])
  assert.deepEqual([thief.told, await copy.load(NAME)], [['refresh_token_reused'], null])

  await rejection(app.client.accounts.list(), SignInRequiredError)
  assert.deepEqual([app.told, await app.store.load(NAME)], [['session_invalid'], null])
  assert.equal(await app.client.session(), null)
  await app.signIn(alice)
  assert.equal((await app.client.session())?.did, alice.did)
})

test('signing out ends it everywhere', async () => {
  const copy = device()
  await copy.store.save(NAME, (await app.store.load(NAME)) ?? '')
  await app.client.signOut()
  assert.equal(await app.store.load(NAME), null)
  assert.equal(await app.client.session(), null)
  await rejection(copy.client.xrpc.query('com.atproto.server.getSession'), SignInRequiredError)
  assert.deepEqual([copy.told, await copy.store.load(NAME)], [['session_invalid'], null])
})
