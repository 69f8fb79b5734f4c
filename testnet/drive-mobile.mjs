#!/usr/bin/env node
// The page that an app opens, in a real headless Chromium, up to the address that the app waits for.
//   drive-mobile.mjs PAGE_URL FOLDER HANDLE PASSWORD [SCHEME]
// Keeps pictures of our own page in FOLDER (light and dark, wide and 390 pixels, and with a mistake in it), signs in at the PDS by
// keyboard, and stops where a phone would open the app. Prints what it saw as one JSON object.
import { OwnPages, launch } from './lib/chromium.mjs'

const [start, folder, handle, password, scheme = 'app:'] = process.argv.slice(2)
if (!password) {
  console.error('usage: drive-mobile.mjs PAGE_URL FOLDER HANDLE PASSWORD [SCHEME]')
  process.exit(2)
}
const base = new URL(start).origin

const browser = await launch()
const context = await browser.newContext({ locale: 'en-US', viewport: { width: 390, height: 844 } })
const page = await context.newPage()
// The refusal of the mistaken handle, and the scheme that no program of this machine takes.
const own = new OwnPages(base, folder, (text) => /status of 400|scheme does not have a registered handler/.test(text))
own.watch(page)
const seen = Object.assign(own.seen, { posted: [] })
page.on('request', (request) => {
  if (request.method() === 'POST' && request.url().startsWith(base)) seen.posted.push({ url: request.url(), body: request.postDataJSON() })
})
let link
context.on('response', (response) => {
  const location = response.headers().location ?? ''
  if (response.url().startsWith(base) && location.startsWith(scheme)) link = location
})

try {
  page.setDefaultTimeout(20_000)
  await page.goto(start)
  seen.title = await page.title()
  seen.text = await page.locator('main').innerText()
  await own.pictures(page, 'mobile-1-page')
  await page.getByRole('button').click()
  await page.getByRole('alert').waitFor()
  seen.empty = await page.getByRole('alert').innerText()
  await page.getByLabel('Bluesky Handle').fill('nobody-of-that-name.test')
  await page.keyboard.press('Enter')
  await page.getByText('Login failed. Please check your handle and try again.').waitFor()
  seen.mistake = await page.getByRole('alert').innerText()
  await own.pictures(page, 'mobile-2-mistake')
  await page.getByLabel('Bluesky Handle').fill(handle)
  await page.keyboard.press('Enter')

  await own.decide(page, { handle, password })
  for (let i = 0; i < 200 && !link; i++) await page.waitForTimeout(50)
  if (!link) throw new Error('no address of an app')
  seen.link = link
  seen.cookies = (await context.cookies(base)).map(({ name }) => name)
  console.log(JSON.stringify(seen))
} catch (error) {
  await own.fail(page, error)
}
await browser.close()
