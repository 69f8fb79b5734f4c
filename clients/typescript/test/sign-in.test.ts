import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { inspect } from 'node:util'
import { test } from 'node:test'
import { CallbackError, MemoryStore, MistakeError, OfflineError, RefusedError, ServerError, StoreError } from 'bowerbird-client'
import { json, NAME, refusal, rejection, setUp, setUpApp, START, tokens, unreachable } from './support.js'

const BEGIN = 'POST /api/auth/start'
const EXCHANGE = 'POST /api/auth/tokens'
const UNDER_WAY = 'com.example.app.signIn'
const HERE = 'app://auth-callback'
const started = json({ authUrl: 'https://as.example/authorize?x', handle: 'alice.test' })

async function begun(store = new MemoryStore()) {
  const app = await setUpApp(store)
  app.server.on(BEGIN, started)
  await app.client.startSignIn({ handle: 'alice.test' })
  return app
}

test('from the beginning to the end', async () => {
  const { server, client, store } = await setUpApp(new MemoryStore())
  let verifier = ''
  server.on(BEGIN, async (seen) => {
    verifier = JSON.parse((await store.load(UNDER_WAY)) ?? '{}').verifier
    return started(seen)
  })
  const { authUrl, handle } = await client.startSignIn({ handle: 'alice.test', prompt: 'login' })
  assert.deepEqual([authUrl, handle], ['https://as.example/authorize?x', 'alice.test'])
  assert.match(verifier, /^[\w-]{128}$/, 'it is kept before the server is asked')
  assert.deepEqual(JSON.parse(server.seen[0]?.body as string), {
    handle: 'alice.test',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    redirect_uri: HERE,
    prompt: 'login',
  })
  assert.equal(server.seen[0]?.headers.get('authorization'), null)

  server.on(EXCHANGE, json(tokens(1)))
  const signedIn = await client.finishSignIn(`${HERE}?code=a%2Bb`)
  assert.deepEqual(signedIn, { did: 'did:plc:alice', handle: 'alice.test', pds: 'https://pds.example' })
  assert.deepEqual(JSON.parse(server.calls(EXCHANGE)[0]?.body as string), { code: 'a+b', codeVerifier: verifier })
  assert.equal(await store.load(UNDER_WAY), null, 'the verifier is gone')
  assert.match((await store.load(NAME)) ?? '', /refresh-1/)
  assert.doesNotMatch((await store.load(NAME)) ?? '', /long-seal/, 'no more is kept than is needed')
})

test('without a handle a page of the server asks for it, and nobody is asked before', async () => {
  const { server, client, store } = await setUpApp(new MemoryStore())
  const { authUrl, handle } = await client.startSignIn({ prompt: 'create' })
  const { verifier } = JSON.parse((await store.load(UNDER_WAY)) ?? '{}')
  const challenge = createHash('sha256').update(verifier).digest('base64url')
  const query = `code_challenge=${challenge}&code_challenge_method=S256&redirect_uri=app%3A%2F%2Fauth-callback&prompt=create`
  assert.deepEqual([authUrl, handle], [`https://bower.example/mobile-auth?${query}`, null])
  assert.equal(server.seen.length, 0)
  server.on(EXCHANGE, json(tokens(1)))
  assert.equal((await client.finishSignIn(`${HERE}?code=x`)).handle, 'alice.test')
})

test('an app that was stopped while the person was away goes on', async () => {
  const { store } = await begun()
  const restarted = await setUpApp(store)
  restarted.server.on(EXCHANGE, json(tokens(1)))
  assert.equal((await restarted.client.finishSignIn(`${HERE}?code=x`)).handle, 'alice.test')
})

test('an address that is delivered twice is one sign-in', async () => {
  const { server, client } = await begun()
  server.on(EXCHANGE, json(tokens(1)), refusal(400, 'code_invalid'))
  const [one, two] = await Promise.all([client.finishSignIn(`${HERE}?code=x`), client.finishSignIn(`${HERE}/?code=x#`)])
  assert.deepEqual(one, two)
  assert.deepEqual(await client.finishSignIn(`${HERE}?code=x`), one)
  assert.equal(server.calls(EXCHANGE).length, 1)
})

test('with somebody signed in the account is added; a session that is over stops nobody', async () => {
  const { server, client } = await setUpApp()
  server.on(BEGIN, started)
  await client.accounts.add({ handle: 'bob.test' })
  assert.equal(server.seen[0]?.headers.get('authorization'), 'Bearer seal-1')

  const over = await setUpApp()
  over.clock.time = START + 3_600_000
  over.server.on(BEGIN, started).on(EXCHANGE, refusal(401, 'session_invalid'))
  await over.client.startSignIn({ handle: 'bob.test' })
  assert.equal(over.server.calls(BEGIN)[0]?.headers.get('authorization'), null)
})

test('foreign addresses are not sent anywhere', async () => {
  const { server, client, store } = await begun()
  const before = server.seen.length
  for (const [callback, code] of [
    ['app://auth?code=canary', 'not_ours'],
    ['other://auth-callback?code=canary', 'not_ours'],
    ['app://auth-callback/more?code=canary', 'not_ours'],
    ['app://auth-callback.evil.example?code=canary', 'not_ours'],
    ['app://auth-callback:1?code=canary', 'not_ours'],
    ['app://me@auth-callback?code=canary', 'not_ours'],
    ['https://app.example/?code=canary', 'not_ours'],
    [`${HERE}?code=${'canary'.repeat(1000)}`, 'not_ours'],
    ['', 'not_ours'],
    [HERE, 'malformed'],
    [`${HERE}?code=`, 'malformed'],
    [`${HERE}?code=canary&code=canary`, 'malformed'],
    [`${HERE}?code=canary&error=x`, 'malformed'],
    [`${HERE}?session_token=canary&did=did:plc:x&handle=eve`, 'token_in_url'],
    [`${HERE}?code=x&session%5Ftoken=canary`, 'token_in_url'],
  ] as const) {
    const error = await rejection(client.finishSignIn(callback), CallbackError)
    assert.equal(error.code, code, callback)
    assert.ok(!inspect(error).includes('canary'), callback)
  }
  assert.equal(server.seen.length, before)
  assert.notEqual(await store.load(UNDER_WAY), null, 'the sign-in under way stays')
})

test('a refusal is told in clean words, and the sign-in under way stays', async () => {
  const { client, server } = await begun()
  const error = await rejection(client.finishSignIn(`${HERE}?error=access_denied&error_description=No%0A+way%1b`), CallbackError)
  assert.deepEqual([error.code, error.error], ['refused', 'access_denied'])
  assert.equal(error.message, 'The sign-in was refused: No way. Begin again if that was a mistake.')
  server.on(EXCHANGE, json(tokens(1)))
  await client.finishSignIn(`${HERE}?code=x`)
})

test('no code is taken that nobody here waits for', async () => {
  const { server, client } = await setUpApp(new MemoryStore())
  assert.equal((await rejection(client.finishSignIn(`${HERE}?code=x`), CallbackError)).code, 'not_started')
  const late = await begun()
  late.clock.time = START + 600_001
  assert.equal((await rejection(late.client.finishSignIn(`${HERE}?code=x`), CallbackError)).code, 'not_started')
  assert.equal(server.seen.length, 0)
})

test('a sign-in that was given up is not taken up again', async () => {
  const { server, client, store } = await begun()
  await client.cancelSignIn()
  await client.cancelSignIn()
  assert.equal(await store.load(UNDER_WAY), null)
  assert.equal((await rejection(client.finishSignIn(`${HERE}?code=x`), CallbackError)).code, 'not_started')
  assert.equal(server.calls(EXCHANGE).length, 0)
})

test('foreign codes do not end a sign-in, and are not tried for ever', async () => {
  const { server, client } = await begun()
  server.on(EXCHANGE, refusal(400, 'code_verifier_mismatch'), refusal(400, 'code_invalid'), json(tokens(1)))
  for (const code of ['evil-1', 'evil-2']) {
    const error = await rejection(client.finishSignIn(`${HERE}?code=${code}`), RefusedError)
    assert.match(error.message, /Begin again/)
  }
  assert.equal((await client.finishSignIn(`${HERE}?code=ours`)).handle, 'alice.test')

  const other = await begun()
  other.server.on(EXCHANGE, refusal(400, 'code_invalid'))
  for (const code of ['1', '2', '3']) await rejection(other.client.finishSignIn(`${HERE}?code=${code}`), RefusedError)
  assert.equal((await rejection(other.client.finishSignIn(`${HERE}?code=4`), CallbackError)).code, 'not_started')
  assert.equal(other.server.calls(EXCHANGE).length, 3)
})

test('the exchange is tried again as any other, with the same code', async () => {
  const { server, clock, client } = await begun()
  server.on(EXCHANGE, unreachable, refusal(500, 'store_unavailable'), json(tokens(1)))
  await clock.run(client.finishSignIn(`${HERE}?code=x`))
  assert.deepEqual(clock.waited, [2000, 4000])

  const away = await begun()
  away.server.on(EXCHANGE, unreachable)
  await rejection(away.clock.run(away.client.finishSignIn(`${HERE}?code=x`)), OfflineError)
  away.server.on(EXCHANGE, json(tokens(1)))
  await away.client.finishSignIn(`${HERE}?code=x`)
})

test('a beginning that fails', async () => {
  const { server, clock, client } = await setUpApp(new MemoryStore())
  server.on(BEGIN, json({ error: 'Could not resolve handle', hint: 'Correct the spelling' }, 400, { 'bowerbird-error': 'handle_not_found' }))
  const unknown = await rejection(client.startSignIn({ handle: 'nobody.test' }), RefusedError)
  assert.deepEqual([unknown.code, unknown.message], ['handle_not_found', 'Could not resolve handle. Correct the spelling.'])
  server.on(BEGIN, refusal(502, 'as_unreachable'))
  await rejection(clock.run(client.startSignIn({ handle: 'alice.test' })), ServerError)
})

test('a device that cannot keep the verifier begins nothing', async () => {
  const store = new MemoryStore()
  store.save = async () => {
    throw new Error('locked')
  }
  const { server, client } = await setUpApp(store)
  await rejection(client.startSignIn({ handle: 'alice.test' }), StoreError)
  assert.equal(server.seen.length, 0)
})

test('the addresses of apps, and what is none', () => {
  for (const redirect of ['app://auth-callback', 'com.example.app:/cb', 'https://app.example/cb', 'myapp:///auth']) {
    assert.ok(setUp({ store: new MemoryStore(), redirect }), redirect)
  }
  for (const redirect of ['', 'cb', 'http://app.example/cb', 'javascript:/x', 'app://cb?x=1', 'app://cb#x', 'intent://cb', 'app://a b', 'app://u@h']) {
    assert.throws(() => setUp({ store: new MemoryStore(), redirect }), MistakeError, redirect)
  }
})

test('https app links differ by no more than spelling', async () => {
  const store = new MemoryStore()
  const { server, client } = setUp({ store, redirect: 'https://app.example/auth' })
  server.on(BEGIN, started).on(EXCHANGE, json(tokens(1)))
  await client.startSignIn({ handle: 'alice.test' })
  for (const foreign of ['https://app.example/AUTH?code=x', 'https://app.example:444/auth?code=x', 'http://app.example/auth?code=x']) {
    assert.equal((await rejection(client.finishSignIn(foreign), CallbackError)).code, 'not_ours', foreign)
  }
  await client.finishSignIn('https://APP.example/auth?code=x')
})

test('no error tells a secret', async () => {
  const { server, client, store } = await begun()
  const verifier = JSON.parse((await store.load(UNDER_WAY)) ?? '{}').verifier
  const failures: unknown[] = []
  for (const reply of [refusal(400, 'code_invalid'), refusal(403, 'cross_site_request'), json({}, 418)]) {
    server.on(EXCHANGE, reply)
    failures.push(await rejection(client.finishSignIn(`${HERE}?code=canary-code`), Error))
  }
  const app = await setUpApp()
  app.server.on('GET /api/accounts', refusal(400, 'ambiguous_credentials'))
  failures.push(await rejection(app.client.accounts.list(), Error))
  for (const failure of failures) {
    const shown = inspect(failure, { depth: 9, showHidden: true })
    for (const secret of ['canary-code', verifier, 'seal-1', 'refresh-1']) assert.ok(!shown.includes(secret), shown)
  }
})
