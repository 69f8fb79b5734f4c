#!/usr/bin/env node
// The page that an app opens, in a real headless Chromium, up to the address that the app waits for.
//   drive-mobile.mjs PAGE_URL FOLDER HANDLE PASSWORD [SCHEME]
// Keeps pictures of our own page in FOLDER (light and dark, wide and 390 pixels, and with a mistake in it), signs in at the PDS by
// keyboard, and stops where a phone would open the app. Prints what it saw as one JSON object.
import fs from 'node:fs'
import { chromium } from 'playwright-core'

const [start, folder, handle, password, scheme = 'app:'] = process.argv.slice(2)
if (!password) {
  console.error('usage: drive-mobile.mjs PAGE_URL FOLDER HANDLE PASSWORD [SCHEME]')
  process.exit(2)
}
const base = new URL(start).origin
fs.mkdirSync(folder, { recursive: true })

const browser = await chromium.launch({
  executablePath: process.env.BOWERBIRD_CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-background-networking',
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1', // nothing leaves this machine
  ],
})
const context = await browser.newContext({ locale: 'en-US', viewport: { width: 390, height: 844 } })
const page = await context.newPage()
const seen = { complaints: [], foreign: [], overflows: [], posted: [] }
const ours = () => page.url().startsWith(base)

page.on('console', (message) => {
  const at = message.location().url || page.url()
  if (!at.startsWith(base) || !['error', 'warning'].includes(message.type())) return
  // The refusal of the mistaken handle, and the scheme that no program of this machine takes.
  if (/status of 400|Permissions-Policy|scheme does not have a registered handler/.test(message.text())) return
  seen.complaints.push(`${at}: ${message.text()}`)
})
page.on('pageerror', (error) => ours() && seen.complaints.push(`${page.url()}: ${error}`))
page.on('request', (request) => {
  if (request.method() === 'POST' && request.url().startsWith(base)) seen.posted.push({ url: request.url(), body: request.postDataJSON() })
  if (ours() && !request.isNavigationRequest() && !request.url().startsWith(base)) seen.foreign.push(request.url())
})
let link
context.on('response', (response) => {
  const location = response.headers().location ?? ''
  if (response.url().startsWith(base) && location.startsWith(scheme)) link = location
})

async function pictures(name) {
  for (const colorScheme of ['light', 'dark']) {
    for (const [size, width, height] of [['wide', 1100, 800], ['phone', 390, 844]]) {
      await page.emulateMedia({ colorScheme })
      await page.setViewportSize({ width, height })
      const widest = await page.evaluate(() => document.documentElement.scrollWidth)
      if (widest > width) seen.overflows.push(`${name}: ${widest} of ${width} pixels`)
      await page.screenshot({ path: `${folder}/${name}-${size}-${colorScheme}.png`, fullPage: true })
    }
  }
}

try {
  page.setDefaultTimeout(20_000)
  await page.goto(start)
  seen.title = await page.title()
  seen.text = await page.locator('main').innerText()
  await pictures('mobile-1-page')
  await page.getByRole('button').click()
  await page.getByRole('alert').waitFor()
  seen.empty = await page.getByRole('alert').innerText()
  await page.getByLabel('Bluesky Handle').fill('nobody-of-that-name.test')
  await page.keyboard.press('Enter')
  await page.getByText('Login failed. Please check your handle and try again.').waitFor()
  seen.mistake = await page.getByRole('alert').innerText()
  await pictures('mobile-2-mistake')
  await page.getByLabel('Bluesky Handle').fill(handle)
  await page.keyboard.press('Enter')

  await page.waitForURL((url) => !url.href.startsWith(base))
  const username = page.locator('input[name="username"]')
  const secret = page.locator('input[type="password"]')
  const welcome = page.getByRole('button', { name: /^sign in$/i })
  await username.or(secret).or(welcome).first().waitFor()
  if (!(await username.count()) && (await welcome.count())) await welcome.first().click()
  await secret.waitFor()
  if (await username.isEditable().catch(() => false)) await username.fill(handle)
  await secret.fill(password)
  await page.locator('button[type="submit"]').first().click()
  const accept = page.getByRole('button', { name: /^(authorize|accept|allow|continue)/i }).first()
  await accept.waitFor()
  await accept.click()
  for (let i = 0; i < 200 && !link; i++) await page.waitForTimeout(50)
  if (!link) throw new Error('no address of an app')
  seen.link = link
  seen.cookies = (await context.cookies(base)).map(({ name }) => name)
  console.log(JSON.stringify(seen))
} catch (error) {
  await page.screenshot({ path: `${folder}/error.png`, fullPage: true }).catch(() => {})
  const text = await page.locator('body').innerText().catch(() => '')
  console.error(String(error), page.url(), text.slice(0, 800), JSON.stringify(seen))
  process.exitCode = 1
}
await browser.close()
