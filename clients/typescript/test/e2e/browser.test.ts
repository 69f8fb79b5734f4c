import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { BowerbirdClient, Session } from 'bowerbird-client'
import { Fronts } from './front.js'
import { BASE, control, eventually, fromTestnet, person } from './network.js'

/** What is used of Playwright, whose types are not installed here. */
interface Page {
  goto(url: string): Promise<unknown>
  url(): string
  waitForURL(matches: (url: URL) => boolean): Promise<void>
  waitForFunction(condition: () => boolean): Promise<unknown>
  evaluate<T, A>(work: (argument: A) => T | Promise<T>, argument?: A): Promise<T>
  locator(selector: string): Locator
  getByRole(role: string, options: { name: RegExp }): Locator
  setDefaultTimeout(millis: number): void
}
interface Locator {
  first(): Locator
  or(other: Locator): Locator
  count(): Promise<number>
  waitFor(): Promise<void>
  click(): Promise<void>
  fill(text: string): Promise<void>
  isEditable(): Promise<boolean>
}
interface Context {
  newPage(): Promise<Page>
  pages(): Page[]
}
interface Browser {
  newContext(): Promise<Context>
  close(): Promise<void>
}
interface Playwright {
  chromium: { launch(options: object): Promise<Browser> }
}

/** In the page: its client, and what it was told. */
declare const window: { client: BowerbirdClient; told: string[] }

const [alice, bob] = [person('alice.test'), person('bob.test')]
/** Of the pages of another origin that the server lists. */
const LISTED = Number(process.env['LISTED_PORT'])
/** The server itself, behind its front. */
const BEHIND = process.env['BEHIND'] ?? ''

const fronts = new Fronts()
let browser: Browser
let context: Context
let page: Page

async function open(address: string): Promise<void> {
  await page.goto(address)
  await page.waitForFunction(() => window.client !== undefined)
}

/** On the pages of the person's own server, in a window or here. */
async function consent(who: typeof alice, on = page, accepts = true): Promise<void> {
  await on.waitForURL((url) => url.protocol === 'http:' && !url.href.startsWith(BASE))
  const username = on.locator('input[name="username"]')
  const password = on.locator('input[type="password"]')
  const welcome = on.getByRole('button', { name: /^sign in$/i })
  await username.or(password).or(welcome).first().waitFor()
  if (!(await username.count()) && (await welcome.count())) await welcome.first().click()
  await password.waitFor()
  if (await username.isEditable().catch(() => false)) await username.fill(who.handle)
  await password.fill(who.password)
  await on.locator('button[type="submit"]').first().click()
  const accept = on.getByRole('button', { name: /^(authorize|accept|allow|continue)/i }).first()
  await accept.waitFor()
  await (accepts ? accept : on.getByRole('button', { name: /deny|reject|cancel/i }).first()).click()
}

/** The same, and back at the app. */
async function consentAndReturn(who: typeof alice): Promise<void> {
  await consent(who)
  await page.waitForURL((url) => url.href.startsWith(BASE))
  await page.waitForFunction(() => window.client !== undefined)
}

before(async () => {
  const { chromium } = await fromTestnet<Playwright>('node_modules/playwright-core/index.mjs')
  browser = await chromium.launch({
    executablePath: process.env['BOWERBIRD_CHROMIUM'] ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1', // nothing leaves this machine
    ],
  })
  context = await browser.newContext()
  page = await context.newPage()
  page.setDefaultTimeout(20_000)
  // The app's files and the server on one origin.
  assert.equal(await fronts.open(Number(new URL(BASE).port), BASE, BEHIND), BASE)
})

after(async () => {
  await browser?.close()
  fronts.close()
})

test('a page signs a person in and has them back', async () => {
  await open(`${BASE}/app/`)
  assert.equal(await page.evaluate(() => window.client.session()), null)
  const address = await page.evaluate((handle) => window.client.signInUrl({ handle, redirect: '/app/' }), alice.handle)
  await page.goto(address)
  await consentAndReturn(alice)
  assert.equal(page.url(), `${BASE}/app/`)
  const session = await page.evaluate(() => window.client.session())
  assert.deepEqual([session?.did, session?.handle], [alice.did, alice.handle])
  assert.equal(await page.evaluate(() => window.client.validate()), true)
})

test('a page adds an account, switches, and calls for both', async () => {
  const authUrl = await page.evaluate(async (handle) => {
    const { authUrl } = await window.client.accounts.add({ handle, redirect: '/app/' })
    return authUrl
  }, bob.handle)
  await page.goto(authUrl)
  await consentAndReturn(bob)
  const dids = await page.evaluate(async (did) => {
    const { client } = window
    const before = await client.session()
    await client.accounts.activate(did)
    const accounts = await client.accounts.list()
    const sessions = accounts.map(({ id }) => client.forAccount(id).query<{ did: string }>('com.atproto.server.getSession'))
    const active = await client.xrpc.query<{ did: string }>('com.atproto.server.getSession')
    return { before: before?.did, active: active.did, both: (await Promise.all(sessions)).map((session) => session.did) }
  }, alice.did)
  assert.deepEqual(dids, { before: bob.did, active: alice.did, both: [alice.did, bob.did] })
})

test('a page writes, uploads a file, and follows events', async () => {
  const seen = await page.evaluate(async (did) => {
    const { xrpc } = window.client
    const record = { $type: 'app.bsky.feed.post', text: 'from a page', createdAt: new Date().toISOString() }
    const created = await xrpc.procedure<{ uri: string }>('com.atproto.repo.createRecord', {
      repo: did,
      collection: 'app.bsky.feed.post',
      record,
    })
    const file = new Blob([new Uint8Array(50_000).fill(65)], { type: 'text/plain' })
    const uploaded = await xrpc.procedure<{ blob: { mimeType: string; size: number } }>('com.atproto.repo.uploadBlob', file)
    const answer = await xrpc.raw('com.atproto.repo.listRecords', { repo: did, collection: 'app.bsky.feed.post' })
    return { uri: created.uri, size: uploaded.blob.size, type: answer.headers.get('content-type') }
  }, alice.did)
  assert.ok(seen.uri.startsWith(`at://${alice.did}/`), seen.uri)
  assert.deepEqual([seen.size, seen.type?.split(';')[0]], [50_000, 'application/json'])

  // The stream stands when the server's first bytes are there; the event comes when a call finds out.
  await page.evaluate(() => {
    const stop = new AbortController()
    const events = window.client.events(stop.signal)
    const first = events.next().then(({ value }) => (stop.abort(), value))
    Object.assign(window, { first })
  })
  await new Promise((resolve) => setTimeout(resolve, 500))
  await control(`/revoke-all?did=${encodeURIComponent(bob.did)}`)
  const [refused, event] = await page.evaluate(async (did) => {
    const call = window.client.forAccount(did).query('com.atproto.server.getSession')
    const error = await call.catch((thrown: { name: string; repairUrl: string }) => [thrown.name, thrown.repairUrl])
    const { type, repairUrl } = await (window as unknown as { first: Promise<{ type: string; repairUrl: string }> }).first
    return [error, [type, repairUrl]]
  }, bob.did)
  const repairUrl = (refused as string[])[1]
  assert.deepEqual([refused, event], [['SignInRequiredError', repairUrl], ['needs_reauth', repairUrl]])
  assert.ok(repairUrl?.startsWith(`${BASE}/login/repair/`), repairUrl)
  assert.deepEqual(await page.evaluate(() => window.told.splice(0)), ['revoked'])
})

test('what changes something needs the header that the client sends', async () => {
  const statuses = await page.evaluate(async (did) => {
    const activate = (headers: Record<string, string>) =>
      fetch(`/api/accounts/${encodeURIComponent(did)}/activate`, { method: 'POST', headers }).then(({ status }) => status)
    return [await activate({}), await activate({ 'bowerbird-csrf': '1' })]
  }, alice.did)
  assert.deepEqual(statuses, [403, 200])
})

test('a page of a listed origin does the same', async () => {
  await open(`${await fronts.open(LISTED, BASE)}/app/`)
  const seen = await page.evaluate(async (did) => {
    const { client } = window
    const session = await client.session()
    const record = { $type: 'app.bsky.feed.post', text: 'from elsewhere', createdAt: new Date().toISOString() }
    const body = { repo: did, collection: 'app.bsky.feed.post', record }
    const created = await client.xrpc.procedure<{ uri: string }>('com.atproto.repo.createRecord', body)
    const error = await client.accounts.activate('did:plc:nobody').catch((thrown: { name: string; code: string }) => thrown)
    return { did: session?.did, uri: created.uri, name: 'name' in error ? error.name : '', code: 'code' in error ? error.code : '' }
  }, alice.did)
  assert.ok(seen.uri.startsWith(`at://${alice.did}/`))
  // The code stands in a header, which pages of other origins can read only where the server says so.
  assert.deepEqual([seen.did, seen.name, seen.code], [alice.did, 'UnknownAccountError', 'account_not_found'])
})

test('a page of a listed origin signs a person in in a window, and stays as it is', async () => {
  await page.evaluate((handle) => {
    Object.assign(window, { signingIn: window.client.signInInWindow({ handle }) })
  }, bob.handle)
  // Opened before it could be waited for: the window is the one page more.
  const popup = await eventually('the window', () => context.pages().find((one) => one !== page))
  await consent(bob, popup)
  const session = await page.evaluate(() => (window as unknown as { signingIn: Promise<Session> }).signingIn)
  assert.equal(session.did, bob.did)
  await eventually('the end of the window', () => (context.pages().length === 1 ? true : undefined))
  const accounts = await page.evaluate(() => window.client.accounts.list())
  assert.deepEqual(accounts.map(({ did, status }) => [did, status]), [[alice.did, 'ok'], [bob.did, 'ok']])
  await page.evaluate((did) => window.client.accounts.activate(did), alice.did)
  assert.deepEqual(await page.evaluate(() => window.told), [])
})

test('a page of a listed origin hears of a refusal, although the window was cut off', async () => {
  await page.evaluate((handle) => {
    const signingIn = window.client.signInInWindow({ handle })
    Object.assign(window, { refusal: signingIn.then(() => undefined, ({ code, error }) => [code, error]) })
  }, bob.handle)
  const popup = await eventually('the window', () => context.pages().find((one) => one !== page))
  await consent(bob, popup, false)
  const refusal = await page.evaluate(() => (window as unknown as { refusal: Promise<unknown> }).refusal)
  assert.deepEqual(refusal, ['refused', 'access_denied'])
})

test('a page of any other origin gets nothing', async () => {
  await open(`${await fronts.open(0, BASE)}/app/`)
  const name = await page.evaluate(async (did) => {
    // A procedure, which is tried once only.
    const call = window.client.xrpc.procedure('com.atproto.repo.createRecord', { repo: did })
    return call.then(
      () => 'it worked',
      (thrown: { name: string }) => thrown.name,
    )
  }, bob.did)
  assert.equal(name, 'OfflineError')
  await open(`${BASE}/app/`)
  assert.equal(await page.evaluate(async () => (await window.client.session())?.did), alice.did)
})

test('a page signs the person out', async () => {
  const seen = await page.evaluate(async () => {
    const { client } = window
    await client.signOut()
    const error = await client.accounts.list().catch((thrown: { name: string }) => thrown.name)
    return [await client.session(), error, window.told]
  })
  assert.deepEqual(seen, [null, 'SignInRequiredError', ['session_invalid']])
})
