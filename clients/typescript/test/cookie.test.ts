import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BowerbirdClient, MistakeError, RefusedError, SignInRequiredError, UnknownAccountError } from 'bowerbird-client'
import { BASE, json, refusal, rejection, setUp, signedOut } from './support.js'

const SESSION = {
  valid: true,
  did: 'did:plc:alice',
  handle: 'alice.test',
  userHandle: 'alice.test',
  displayName: 'Alice',
  accessToken: null,
  refreshToken: null,
  expiresAt: 1_767_900_000_000,
}

test('a browser shows its cookie, and the header that nobody can forge with whatever changes something', async () => {
  const { server, clock, client } = setUp()
  server.on('GET /api/accounts', json({ accounts: [] })).on('POST /api/accounts', json({ authUrl: 'https://as/', expiresAt: 1 }))
  server.on('DELETE /api/accounts/did%3Aplc%3Abob', json({ success: true }))
  server.on('POST /api/accounts/did%3Aplc%3Abob/activate', json({ success: true, id: 'i', did: 'did:plc:bob', handle: 'bob.test' }))
  await client.accounts.list()
  const added = await client.accounts.add({ handle: 'bob.test', redirect: '/settings' })
  assert.deepEqual(added, { authUrl: 'https://as/', handle: null })
  assert.deepEqual(await client.accounts.activate('did:plc:bob'), { id: 'i', did: 'did:plc:bob', handle: 'bob.test' })
  await clock.run(client.accounts.remove('did:plc:bob'))

  assert.deepEqual(server.seen.map(({ init }) => init.credentials), Array(4).fill('include'))
  assert.deepEqual(server.seen.map(({ headers }) => headers.get('bowerbird-csrf')), [null, '1', '1', '1'])
  assert.ok(server.seen.every(({ headers }) => !headers.has('authorization')))
  assert.equal(server.seen[1]?.body, JSON.stringify({ handle: 'bob.test', redirect: '/settings', prompt: null }))
})

test('who is signed in, or nobody', async () => {
  const { server, client, told } = setUp()
  server.on('GET /api/auth/session', json(SESSION), json({ valid: false, error: 'x', reason: 'session_invalid' }, 401, { 'bowerbird-error': 'session_invalid' }))
  assert.deepEqual(await client.session(), {
    did: 'did:plc:alice',
    handle: 'alice.test',
    displayName: 'Alice',
    avatar: null,
    expiresAt: 1_767_900_000_000,
  })
  assert.equal(await client.session(), null)
  server.on('GET /validate-session', json({ valid: true, did: 'd', handle: 'h' }), json({ valid: false }, 401, { 'bowerbird-error': 'session_invalid' }))
  assert.deepEqual([await client.validate(), await client.validate()], [true, false])
  assert.deepEqual(told, [], 'a question is no call that fails')
})

test('a call without a session asks for a sign-in', async () => {
  const { server, client, told } = setUp()
  server.on('GET /api/accounts', signedOut)
  const error = await rejection(client.accounts.list(), SignInRequiredError)
  assert.deepEqual([error.sessionEnded, error.reason, error.repairUrl], [true, 'session_invalid', undefined])
  assert.equal(error.account, undefined)
  assert.match(error.message, /Ask the person to sign in again/)
  assert.deepEqual(told, [{ reason: 'session_invalid', repairUrl: undefined }])
})

test('one account that needs its person ends no session', async () => {
  const { server, client, told } = setUp()
  const repairUrl = `${BASE}/login/repair/0b9f`
  server.on('GET /xrpc/app.bsky.feed.getTimeline', refusal(401, 'needs_reauth', { reason: 'revoked', repairUrl }))
  const error = await rejection(client.xrpc.query('app.bsky.feed.getTimeline'), SignInRequiredError)
  assert.deepEqual([error.code, error.sessionEnded, error.reason, error.repairUrl], ['needs_reauth', false, 'revoked', repairUrl])
  assert.equal(error.account, '0b9f')
  assert.deepEqual(told, [{ reason: 'revoked', repairUrl }])
})

test('refusals say what to do', async () => {
  const { server, client } = setUp()
  server.on('POST /api/accounts/x/activate', refusal(404, 'account_not_found'))
  const unknown = await rejection(client.accounts.activate('x'), UnknownAccountError)
  assert.match(unknown.message, /Choose one of accounts\.list\(\)/)
  server.on('POST /api/accounts', refusal(403, 'cross_site_request'))
  const foreign = await rejection(client.accounts.add({ handle: 'a.test' }), RefusedError)
  assert.match(foreign.message, /BOWERBIRD_CORS_ORIGINS/)
  server.on('POST /api/accounts', refusal(400, 'invalid_handle', { hint: 'Enter a handle such as alice.bsky.social' }))
  const invalid = await rejection(client.accounts.add({ handle: '?' }), RefusedError)
  assert.equal(invalid.message, 'about invalid_handle. Enter a handle such as alice.bsky.social.')
  server.on('GET /api/accounts', () => new Response('<html>', { status: 200 }))
  assert.equal((await rejection(client.accounts.list(), RefusedError)).code, 'answer_unreadable')
})

test('signing out twice is signing out', async () => {
  const { server, client } = setUp()
  server.on('POST /api/auth/logout', json({ success: true }))
  await client.signOut()
  await client.signOut()
  assert.equal(server.seen[0]?.headers.get('bowerbird-csrf'), '1')
})

test('the address of a sign-in', () => {
  const { client } = setUp()
  assert.equal(
    client.signInUrl({ handle: 'alice.test', redirect: '/a?b=c&d', prompt: 'create' }),
    `${BASE}/login?handle=alice.test&redirect=%2Fa%3Fb%3Dc%26d&prompt=create`,
  )
})

test('mistakes of the app are told at once', async () => {
  for (const baseUrl of ['', 'bower.example', 'https://bower.example/path', 'https://user@bower.example', 'http://bower.example', 'ftp://x']) {
    assert.throws(() => new BowerbirdClient({ baseUrl }), MistakeError, baseUrl)
  }
  for (const baseUrl of ['https://bower.example/', 'http://127.0.0.1:8080', 'http://localhost:1', 'http://10.0.2.2:8080']) {
    assert.ok(new BowerbirdClient({ baseUrl }), baseUrl)
  }
  assert.ok(new BowerbirdClient({ baseUrl: 'http://192.168.1.5:8080', allowInsecure: true }))
  const { client, server } = setUp()
  assert.equal((await rejection(client.startSignIn({ handle: 'a.test' }), MistakeError)).code, 'store_missing')
  await rejection(client.accounts.activate(''), MistakeError)
  assert.equal(server.seen.length, 0)
  assert.throws(() => setUp({ namespace: 'a b' }), MistakeError)
})

test('an account signs in with an app password', async () => {
  const { server, client } = setUp()
  const account = { id: 'i', did: 'did:plc:bob', handle: 'bob.test' }
  server.on('POST /api/accounts/app-password', json(account), refusal(401, 'app_password_invalid'))
  assert.deepEqual(await client.accounts.signInWithAppPassword({ identifier: 'bob.test', password: 'canary' }), account)
  const refused = client.accounts.signInWithAppPassword({ identifier: 'bob.test', password: 'canary' })
  const error = await rejection(refused, RefusedError)
  assert.equal(error.code, 'app_password_invalid')
  assert.ok(!error.message.includes('canary'))
})

test('how tokens stand', async () => {
  const { server, client } = setUp()
  server.on('GET /api/tokens/health', json([{ platform: 'atproto', state: 'ok' }]))
  assert.equal((await client.tokenHealth({ account: 'did:plc:bob' }))[0]?.state, 'ok')
  assert.equal(server.seen[0]?.headers.get('bowerbird-account'), 'did:plc:bob')
})
