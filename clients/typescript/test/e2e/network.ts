import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Clock } from 'bowerbird-client'

/** A person of the test network. */
export interface Person {
  readonly handle: string
  readonly did: string
  readonly password: string
  readonly appPassword: string
}

const env = (name: string): string => {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set: run these tests by \`cargo xtask test real_typescript\``)
  return value
}

/** The server under test. */
export const BASE = env('BOWERBIRD_URL')
const TESTNET = env('BOWERBIRD_TESTNET_DIR')
const network = JSON.parse(env('NETWORK')) as { pds: string; control: string; people: Person[] }

/** The people's server. */
export const PDS = network.pds

/** A person by their handle. */
export function person(handle: string): Person {
  const found = network.people.find((one) => one.handle === handle)
  if (!found) throw new Error(`no ${handle}`)
  return found
}

/** A module of the test network's packages, or one of its scripts. */
export async function fromTestnet<T>(path: string): Promise<T> {
  return (await import(pathToFileURL(join(TESTNET, path)).href)) as T
}

/** Tells the test network something, such as to end grants. */
export async function control(call: string): Promise<void> {
  const answer = await fetch(network.control + call, { method: 'POST' })
  if (!answer.ok) throw new Error(`${call}: ${answer.status} ${await answer.text()}`)
}

interface Approve {
  approve(url: string, handle: string, password: string, options?: { deny?: boolean }): Promise<{ redirect: string }>
}

/**
 * The person in the system's browser: signs in at their server, consents or refuses, comes back by the server under test,
 * and is sent to the app. Gives the address that the system opens the app with.
 */
export async function throughTheBrowser(authUrl: string, who: Person, options: { deny?: boolean; cookie?: string } = {}): Promise<string> {
  const { approve } = await fromTestnet<Approve>('approve.mjs')
  const { redirect } = await approve(authUrl, who.handle, who.password, options)
  const headers = options.cookie ? { cookie: options.cookie } : {}
  const answer = await fetch(redirect, { redirect: 'manual', headers })
  const location = answer.headers.get('location')
  if (answer.status !== 302 || !location) throw new Error(`the callback answered ${answer.status}: ${await answer.text()}`)
  return location
}

/** Real time, with pauses that are over at once. */
export const hurry: Clock = {
  now: () => Date.now(),
  after(millis, run) {
    const timer = setTimeout(run, millis > 10_000 ? millis : 0)
    return () => clearTimeout(timer)
  },
}

/** Waits for something, for ten seconds at most. */
export async function eventually<T>(what: string, look: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (let tries = 0; tries < 200; tries++) {
    const found = await look()
    if (found !== undefined) return found
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`${what} did not happen`)
}
