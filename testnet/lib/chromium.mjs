// What the scripts with a real headless Chromium share: the browser, the person on the PDS' pages, and an eye on our own pages.
import fs from 'node:fs'
import { chromium } from 'playwright-core'

/** A headless Chromium that reaches this machine and nothing else. */
export const launch = () => chromium.launch({
  executablePath: process.env.BOWERBIRD_CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-background-networking',
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1', // nothing leaves this machine
  ],
})

/** On the PDS' pages: signs in, up to the question whether to consent. `seen` is called before each step that changes the page. */
export async function signInAtPds(page, { handle, password }, seen = async () => {}) {
  const username = page.locator('input[name="username"]')
  const secret = page.locator('input[type="password"]')
  const welcome = page.getByRole('button', { name: /^sign in$/i })
  await username.or(secret).or(welcome).first().waitFor()
  if (!(await username.count()) && (await welcome.count())) await welcome.first().click()
  await secret.waitFor()
  if (await username.isEditable().catch(() => false)) await username.fill(handle) // a login hint is not editable
  await secret.fill(password)
  await seen('sign-in')
  await page.locator('button[type="submit"]').first().click()
  const accept = page.getByRole('button', { name: /^(authorize|accept|allow|continue)/i }).first()
  await accept.waitFor()
  await seen('consent')
  return { accept, reject: page.getByRole('button', { name: /deny|reject|cancel|back/i }).first() }
}

/** Our own pages at an address, as Chromium sees them: what it complains of, what they load from elsewhere, where they are too wide. */
export class OwnPages {
  constructor(base, folder, isExpected = () => false) {
    Object.assign(this, { base, folder, isExpected })
    this.seen = { complaints: [], foreign: [], overflows: [] }
    fs.mkdirSync(folder, { recursive: true })
  }

  isOn(page) {
    return page.url().startsWith(this.base)
  }

  /** From now on notes what is wrong with our pages in this tab. */
  watch(page) {
    const { base, seen } = this
    // Blocked styles, forms and pictures, and errors of scripts.
    page.on('console', (message) => {
      const at = message.location().url || page.url()
      if (!at.startsWith(base) || !['error', 'warning'].includes(message.type())) return
      // The next page's headers are told of while the address is still ours; this header is none that we send.
      const isTheirs = message.text().includes('Permissions-Policy')
      if (!isTheirs && !this.isExpected(message.text(), at, page)) seen.complaints.push(`${at}: ${message.text()}`)
    })
    page.on('pageerror', (error) => this.isOn(page) && seen.complaints.push(`${page.url()}: ${error}`))
    page.on('request', (request) => {
      const isOurs = /^(data:|blob:)/.test(request.url()) || request.url().startsWith(base)
      if (this.isOn(page) && !request.isNavigationRequest() && !isOurs) seen.foreign.push(request.url())
    })
  }

  /** Pictures in both colour schemes and two widths; notes where the page is wider than a phone, or squeezes a text. */
  async pictures(page, name) {
    const before = page.viewportSize()
    for (const colorScheme of ['light', 'dark']) {
      for (const [size, width, height] of [['wide', 1100, 800], ['phone', 390, 844]]) {
        await page.emulateMedia({ colorScheme })
        await page.setViewportSize({ width, height })
        const widest = await page.evaluate(() => document.documentElement.scrollWidth)
        if (widest > width) this.seen.overflows.push(`${name}: ${widest} of ${width} pixels`)
        for (const text of await page.locator('td, th, dd, p, li, h3').evaluateAll(squeezed)) {
          this.seen.overflows.push(`${name}: squeezed: ${text}`)
        }
        await page.screenshot({ path: `${this.folder}/${name}-${size}-${colorScheme}.png`, fullPage: true })
      }
    }
    await page.emulateMedia({ colorScheme: 'light' })
    await page.setViewportSize(before)
  }

  /** On the PDS' pages: signs in and decides. */
  async decide(page, person, accepts = true) {
    await page.waitForURL((url) => !url.href.startsWith(this.base))
    const { accept, reject } = await signInAtPds(page, person)
    await (accepts ? accept : reject).click()
  }

  /** Says why a step was not possible: with a picture, the page's text and what was noted until then. */
  async fail(page, error) {
    await page.screenshot({ path: `${this.folder}/error.png`, fullPage: true }).catch(() => {})
    const text = await page.locator('body').innerText().catch(() => '')
    console.error(String(error), page.url(), text.slice(0, 800), JSON.stringify(this.seen))
    process.exitCode = 1
  }
}

/** Texts that stand in a column of a few letters. */
const squeezed = (elements) => elements
  .filter((element) => element.clientWidth < 60 && element.innerText.trim().length > 20)
  .map((element) => element.innerText.slice(0, 40))
