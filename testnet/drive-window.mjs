#!/usr/bin/env node
// A web app that signs its person in in a window of its own, in a real headless Chromium.
//   drive-window.mjs BASE_URL LISTED_PORT FOLDER HANDLE PASSWORD
// Serves the app at http://127.0.0.1:LISTED_PORT, an origin that the server lists, and a stranger's page at another one. The
// window goes to the PDS' pages and back; each page writes down every message that it hears. Then the app calls the API, and
// the stranger opens the same windows. Keeps pictures of what the window shows at its end. Prints what it saw as one JSON object.
import http from 'node:http'
import { OwnPages, launch } from './lib/chromium.mjs'

const [base, listedPort, folder, handle, password] = process.argv.slice(2)
if (!password) {
  console.error('usage: drive-window.mjs BASE_URL LISTED_PORT FOLDER HANDLE PASSWORD')
  process.exit(2)
}
const person = { handle, password }

const APP = `<!doctype html><meta charset="utf-8"><title>app</title><button>Sign in</button><script>
window.told = []
addEventListener('message', ({ origin, data }) => told.push({ origin, data }))
document.querySelector('button').onclick = () => window.open(window.address, 'sign-in', 'popup,width=480,height=720')
</script>`

async function serve(port) {
  const server = http.createServer((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end(APP))
  await new Promise((resolve, reject) => server.on('error', reject).listen(port, '127.0.0.1', resolve))
  return { server, origin: `http://127.0.0.1:${server.address().port}` }
}

const [listed, stranger] = await Promise.all([serve(Number(listedPort)), serve(0)])
const browser = await launch()
// The refusals that are looked for: a page of another origin is not told, and an address that the server does not list.
const expected = /status of 400|target origin provided .* does not match the recipient window's origin/
const own = new OwnPages(base, folder, (text) => expected.test(text))
const seen = own.seen

/** A browser of its own with a page in it. `stays`: the window does not close by itself, so that it can be looked at. */
async function open(address, stays = false) {
  const context = await browser.newContext({ locale: 'en-US', viewport: { width: 480, height: 720 } })
  if (stays) await context.addInitScript(() => { window.close = () => { window.closes = (window.closes ?? 0) + 1 } })
  const page = await context.newPage()
  page.setDefaultTimeout(20_000)
  // What Chromium says of a message that is not for this page's origin.
  page.notForUs = []
  page.on('console', (message) => expected.test(message.text()) && page.notForUs.push(message.text()))
  await page.goto(address)
  return { context, page }
}

const signIn = (origin) => `${base}/login?${new URLSearchParams({ handle, pwa: 'true', origin })}`

/** Presses the button, which opens a window at an address of the server; gives the window. */
async function press(page, address) {
  await page.evaluate((to) => { window.address = to }, address)
  const [popup] = await Promise.all([page.waitForEvent('popup'), page.getByRole('button').click()])
  popup.setDefaultTimeout(20_000)
  own.watch(popup)
  return popup
}

/** What the page of an app can do: what it was told, by the window or when it asks, and how the API answers it. */
const asked = (page) => page.evaluate(async (server) => {
  const get = async (path) => {
    try {
      const answer = await fetch(server + path, { credentials: 'include' })
      return { status: answer.status, body: answer.status === 204 ? null : await answer.json() }
    } catch (error) {
      return { error: error.name }
    }
  }
  const end = await get('/api/auth/window-end')
  const session = await get('/api/auth/session')
  return { told: window.told, cookies: document.cookie, end, session, call: await get('/xrpc/com.atproto.server.getSession') }
}, base)

/** At the end of a window: what it shows. */
async function shown(popup, name) {
  await popup.waitForURL((url) => url.href.startsWith(`${base}/`) && url.pathname !== '/login')
  await popup.waitForLoadState('load')
  await own.pictures(popup, name)
  await popup.waitForTimeout(1_600)
  const { opener, closes } = await popup.evaluate(() => ({ opener: window.opener !== null, closes: window.closes ?? 0 }))
  return { text: await popup.locator('main').innerText(), opener, closes }
}

let page
try {
  // The app of a listed origin, as its person sees it: the window closes, and the app goes on.
  const app = await open(`${listed.origin}/`)
  page = app.page
  seen.before = await asked(page)
  let popup = await press(page, signIn(listed.origin))
  const closed = popup.waitForEvent('close')
  await own.decide(popup, person)
  await closed
  await page.waitForTimeout(200)
  seen.app = await asked(page)
  await app.context.close()

  // The same, with the window left open to be looked at; and a person who says no.
  const looking = await open(`${listed.origin}/`, true)
  page = looking.page
  popup = await press(page, signIn(listed.origin))
  await own.decide(popup, person)
  seen.signedIn = await shown(popup, 'window-1-signed-in')
  await looking.context.close()
  const refusing = await open(`${listed.origin}/`, true)
  page = refusing.page
  popup = await press(page, signIn(listed.origin))
  await own.decide(popup, person, false)
  seen.refused = { ...(await shown(popup, 'window-2-refused')), ...(await asked(page)) }
  await refusing.context.close()

  // A stranger's page opens the window of the app: its person signs in, and the stranger hears nothing.
  const strange = await open(`${stranger.origin}/`, true)
  page = strange.page
  popup = await press(page, signIn(listed.origin))
  await own.decide(popup, person)
  seen.stranger = { ...(await shown(popup, 'window-3-of-a-stranger')), notForUs: page.notForUs.length }
  await popup.close()
  // And a window that is to tell the stranger itself.
  popup = await press(page, signIn(stranger.origin))
  await popup.getByText('origin_not_listed').waitFor()
  seen.notListed = await popup.locator('main').innerText()
  await popup.close()
  await page.waitForTimeout(500)
  Object.assign(seen.stranger, await asked(page))
  await strange.context.close()

  // A page of the server's own origin finds the result in its storage, whether its window was cut off or not.
  const same = await open(`${base}/docs`)
  page = same.page
  const [opened] = await Promise.all([
    page.waitForEvent('popup'),
    page.evaluate((to) => { window.open(to, 'sign-in', 'popup') }, signIn(base)),
  ])
  const ended = opened.waitForEvent('close')
  await own.decide(opened, person)
  await ended
  seen.sameOrigin = await page.evaluate(() => JSON.parse(localStorage.getItem('pwa-oauth-result')))
  console.log(JSON.stringify({ ...seen, origins: { listed: listed.origin, stranger: stranger.origin } }))
} catch (error) {
  await own.fail(page, error)
}
await browser.close()
for (const { server } of [listed, stranger]) server.close()
