#!/usr/bin/env node
// The end of a sign-in that an app began by itself, in a real headless Chromium: the page that names the app and the account.
//   drive-continue.mjs AUTH_URL BASE_URL FOLDER HANDLE PASSWORD continue|decline [SCHEME]
// AUTH_URL is the page of the PDS that the app was given. Signs in there, reads our page and keeps pictures of it in FOLDER, and then
// goes on to the app, or says that it was somebody else, by keyboard. Prints what it saw as one JSON object, with the
// addresses of the app that the browser was sent to.
import { OwnPages, launch } from './lib/chromium.mjs'

const [authUrl, base, folder, handle, password, does, scheme = 'app:'] = process.argv.slice(2)
if (!['continue', 'decline'].includes(does)) {
  console.error('usage: drive-continue.mjs AUTH_URL BASE_URL FOLDER HANDLE PASSWORD continue|decline [SCHEME]')
  process.exit(2)
}

const browser = await launch()
const context = await browser.newContext({ locale: 'en-US', viewport: { width: 390, height: 844 } })
const page = await context.newPage()
page.setDefaultTimeout(20_000)
// No program of this machine takes the scheme.
const own = new OwnPages(base, folder, (text) => text.includes('scheme does not have a registered handler'))
own.watch(page)
const seen = Object.assign(own.seen, { opened: [] })
// What a phone would give to the app: Chromium asks for it, and finds nobody.
const devtools = await context.newCDPSession(page)
await devtools.send('Page.enable')
devtools.on('Page.frameRequestedNavigation', ({ url }) => url.startsWith(scheme) && seen.opened.push(url))

/** Goes on with Tab until the focused element is called so. */
async function tabTo(name) {
  for (let i = 0; i < 20; i++) {
    await page.keyboard.press('Tab')
    if ((await page.evaluate(() => document.activeElement?.innerText?.trim() ?? '')) === name) return
  }
  throw new Error(`Tab does not lead to ${name}`)
}

try {
  await page.goto(authUrl)
  await own.decide(page, { handle, password })
  await page.waitForURL((url) => url.href.startsWith(base))
  await page.waitForLoadState('load')
  seen.title = await page.title()
  seen.text = await page.locator('main').innerText()
  seen.link = await page.locator('main a').getAttribute('href')
  seen.openedByItself = seen.opened.length
  seen.cookies = (await context.cookies(base)).map(({ name }) => name)
  await own.pictures(page, 'continue-1-page')
  if (does === 'continue') {
    await tabTo(seen.text.match(/^Open .*$/m)[0])
    await page.keyboard.press('Enter')
    for (let i = 0; i < 100 && !seen.opened.length; i++) await page.waitForTimeout(50)
  } else {
    await tabTo('This was not me')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Nothing was handed over' }).waitFor()
    seen.declined = await page.locator('main').innerText()
    await own.pictures(page, 'continue-2-declined')
    await page.waitForTimeout(300)
  }
  console.log(JSON.stringify(seen))
} catch (error) {
  await own.fail(page, error)
}
await browser.close()
