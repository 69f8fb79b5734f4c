#!/usr/bin/env node
// A person's day in a real headless Chromium, on the pages of a server under test and of the PDS behind it.
//   drive-pages.mjs BASE_URL FOLDER CONTROL_URL HANDLE:PASSWORD HANDLE:PASSWORD
// Refuses, signs in, adds a second account, switches, removes one, repairs one whose grant was ended (by the control server),
// signs out, all of it without JavaScript on our side. Keeps pictures of our own pages in FOLDER: light and dark, wide and
// 390 pixels. Prints what it saw as one JSON object.
import { OwnPages, launch } from './lib/chromium.mjs'

const [base, folder, control, ...people] = process.argv.slice(2)
if (people.length !== 2) {
  console.error('usage: drive-pages.mjs BASE_URL FOLDER CONTROL_URL HANDLE:PASSWORD HANDLE:PASSWORD')
  process.exit(2)
}
const [first, second] = people.map((person) => {
  const [handle, password] = person.split(':')
  return { handle, password }
})

const browser = await launch()
const context = await browser.newContext({ locale: 'en-US', viewport: { width: 1100, height: 800 } })
const page = await context.newPage()
const own = new OwnPages(base, folder, (text, at, page) => at === page.url() && text.includes('responded with a status of 4'))
own.watch(page)
const seen = Object.assign(own.seen, { steps: {} })
const pictures = (name) => own.pictures(page, name)
const decide = (person, accepts, there = page) => own.decide(there, person, accepts)

/** The main part of our page, as a person reads it. */
async function note(step) {
  await page.waitForURL((url) => url.href.startsWith(base))
  await page.waitForLoadState('load')
  seen.steps[step] = {
    url: page.url(),
    title: await page.title(),
    text: await page.locator('main').innerText(),
    buttons: await page.getByRole('button').allInnerTexts(),
    pictures: await page.locator('img').evaluateAll((images) => images.map((image) => image.complete && image.naturalWidth > 0)),
    styled: await page.evaluate(() => document.styleSheets.length),
    cookies: (await context.cookies(base)).map(({ name, httpOnly, sameSite }) => ({ name, httpOnly, sameSite })),
    readableCookies: await page.evaluate(() => document.cookie),
    scripts: await page.locator('script').count(),
  }
}

/** Does what leads to another page of ours, and waits until that is there: what is read before is the page that goes. */
async function turn(action) {
  const came = page.waitForEvent('framenavigated', (frame) => frame === page.mainFrame())
  await Promise.all([came, action()])
  await page.waitForLoadState('load')
}

/** Goes on with Tab until the focused button is called so. */
async function tabTo(name) {
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press('Tab')
    const called = await page.evaluate(() => document.activeElement?.innerText?.replace(/\s+/g, ' ').trim() ?? '')
    if (name.test(called)) return
  }
  throw new Error(`Tab does not lead to ${name}`)
}

const phone = 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E148 Safari/604.1'
const desktop = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'

/** Signs a person in on another device, which is forgotten then. */
async function signInElsewhere(person, userAgent) {
  const elsewhere = await browser.newContext({ userAgent, locale: 'en-US' })
  const there = await elsewhere.newPage()
  there.setDefaultTimeout(20_000)
  await there.goto(`${base}/login?handle=${encodeURIComponent(person.handle)}`)
  await decide(person, true, there)
  await there.waitForURL((url) => url.href.startsWith(base))
  await elsewhere.close()
}

try {
  page.setDefaultTimeout(20_000)
  await page.goto(base)
  await note('signedOut')
  await pictures('1-signed-out')
  await page.getByText('Sign in with an app password', { exact: true }).click()
  await pictures('9-app-password-form')
  await page.goto(base)

  // A mistake, on our own page.
  await page.getByLabel('Your handle').fill('nobody-of-that-name.test')
  await page.getByRole('button', { name: 'Sign in', exact: true }).click()
  await page.getByRole('alert').waitFor()
  await note('unknownHandle')
  await pictures('2-unknown-handle')

  // The keyboard alone: the form is reached and sent without a mouse.
  await page.goto(base)
  await page.getByLabel('Your handle').focus()
  await page.keyboard.type(first.handle)
  await page.keyboard.press('Enter')
  await decide(first, false)
  await page.waitForURL((url) => url.href.startsWith(base))
  await note('denied')
  await pictures('3-denied')

  await page.goto(base)
  await page.getByLabel('Your handle').fill(first.handle)
  await page.getByRole('button', { name: 'Sign in', exact: true }).click()
  await decide(first, true)
  await page.waitForURL((url) => url.href.startsWith(base))
  // The name and the picture come a moment after the login.
  for (let i = 0; i < 50 && !(await page.locator('img.picture').count()); i++) {
    await page.waitForTimeout(50)
    await page.reload()
  }
  await note('signedIn')
  await pictures('4-signed-in')

  await page.getByLabel('Handle of the account').fill(second.handle)
  await page.getByRole('button', { name: 'Add Account' }).click()
  await decide(second, true)
  await page.waitForURL((url) => url.href.startsWith(base))
  await note('added')
  await pictures('5-two-accounts')

  // The keyboard alone: the switcher's buttons are reached by Tab and pressed by Enter, and say whom they lead to.
  await tabTo(new RegExp(`^Switch to .*@${first.handle}`))
  await turn(() => page.keyboard.press('Enter'))
  await note('switched')
  await turn(() => page.getByRole('button', { name: `Remove @${second.handle} from this device` }).click())
  await note('removed')

  // With the main password by mistake, then with an app password; and the offer of something better.
  const { accounts } = await (await fetch(`${control}/info`)).json()
  await page.getByText('Sign in with an app password', { exact: true }).click()
  await page.getByLabel('Handle or DID').fill(second.handle)
  await page.getByLabel('App password', { exact: true }).fill(second.password)
  await page.getByRole('button', { name: 'Sign in with the app password' }).click()
  await page.getByRole('alert').waitFor()
  await note('mainPassword')
  await pictures('10-main-password')
  seen.passwordsKept = await page.locator('input[type="password"]').evaluateAll((inputs) => inputs.map((input) => input.value))
  await page.getByLabel('App password', { exact: true }).fill(accounts[second.handle].appPassword)
  await turn(() => page.getByRole('button', { name: 'Sign in with the app password' }).click())
  await page.waitForURL((url) => url.pathname === '/')
  await note('byAppPassword')
  await pictures('11-app-password')
  seen.upgradeLeadsTo = await page.getByRole('link', { name: `Upgrade to OAuth: @${second.handle}` }).getAttribute('href')
  await turn(() => page.getByRole('button', { name: `Remove @${second.handle} from this device` }).click())
  await note('removedAgain')

  // The person ends the grant at the PDS; a call of an app finds out.
  await fetch(`${control}/revoke-all?did=${encodeURIComponent(accounts[first.handle].did)}`, { method: 'POST' })
  seen.callAfterTheEnd = await context.request.get(`${base}/xrpc/com.atproto.server.getSession`).then((answer) => answer.status())
  await page.goto(base)
  await note('needsReauth')
  await pictures('6-needs-reauth')
  await turn(() => page.getByRole('navigation').getByRole('link', { name: 'Security' }).click())
  await page.getByText('A new sign-in is needed').waitFor()
  await note('security')
  await pictures('12-security')
  await turn(() => page.getByRole('navigation').getByRole('link', { name: 'Accounts' }).click())
  await page.locator('main').getByRole('link', { name: 'Sign in again' }).first().click()
  await decide(first, true)
  await page.waitForURL((url) => url.href.startsWith(base))
  await note('repaired')

  // Two more devices of the same person; one is signed out from here, by the keyboard.
  for (const userAgent of [phone, desktop]) await signInElsewhere(first, userAgent)
  await turn(() => page.getByRole('navigation').getByRole('link', { name: 'Devices' }).click())
  await note('devices')
  await pictures('13-devices')
  await tabTo(/^Sign out Safari on iPhone/)
  await turn(() => page.keyboard.press('Enter'))
  await page.locator('ul.devices h2', { hasText: 'Safari on iPhone' }).waitFor({ state: 'detached' })
  await note('deviceSignedOut')
  await page.getByText('Sign out everywhere').click()
  await pictures('14-sign-out-everywhere')
  await turn(() => page.getByRole('button', { name: 'Sign out of all other devices' }).click())
  await page.getByText('There is no other device.').waitFor()
  await note('othersSignedOut')

  await page.goto(`${base}/docs`)
  await note('docs')
  await pictures('7-docs')
  await page.goto(`${base}/no-such-page`)
  await note('notFound')
  await pictures('8-not-found')

  // The same pages in a browser without JavaScript: the form leads to the PDS, the sign-out signs out.
  const plain = await browser.newContext({ javaScriptEnabled: false, storageState: await context.storageState() })
  const plainPage = await plain.newPage()
  await plainPage.goto(base)
  await plainPage.getByLabel('Handle of the account').fill(second.handle)
  await plainPage.getByRole('button', { name: 'Add Account' }).click()
  await plainPage.waitForURL((url) => !url.href.startsWith(base))
  seen.withoutScript = { addLeadsTo: plainPage.url() }
  await plainPage.goto(base)
  await plainPage.getByRole('button', { name: 'Sign out of this device' }).click()
  await plainPage.getByLabel('Your handle').fill(first.handle)
  await plainPage.getByRole('button', { name: 'Sign in', exact: true }).click()
  await plainPage.waitForURL((url) => !url.href.startsWith(base))
  seen.withoutScript.signInLeadsTo = plainPage.url()

  // That was the same device: it is signed out here too.
  await page.goto(base)
  await note('signedOutAgain')
  console.log(JSON.stringify(seen))
} catch (error) {
  await own.fail(page, error)
}
await browser.close()
