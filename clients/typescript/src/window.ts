import type { Caller } from './caller.js'
import { type Clock, reasonOf, throwIfAborted } from './clock.js'
import { CallbackError, MistakeError, SignInRequiredError } from './errors.js'
import { queryOf } from './query.js'
import type { ListedAccount, WindowEndBody } from './schema.js'
import type { SignInOptions } from './sign-in.js'

/** How often the server is asked whether somebody has come, in milliseconds. */
const PAUSE = 2000
const NAME = 'bowerbird-sign-in'
const FEATURES = 'popup,width=520,height=720'

/** What is used of a page. */
interface Page {
  open(url: string, name: string, features: string): { close(): void } | null
  addEventListener(type: 'message', listener: (event: MessageEvent) => void): void
  removeEventListener(type: 'message', listener: (event: MessageEvent) => void): void
  readonly location?: { readonly origin: string }
}

/**
 * A sign-in in a window of its own, so that the page stays as it is. The window tells the page what came of it; where the
 * person's server has cut the two apart, as most do, the page finds out by asking.
 */
export async function signInInWindow(caller: Caller, clock: Clock, options: SignInOptions): Promise<void> {
  const page = globalThis as unknown as Page
  if (typeof page.open !== 'function' || !page.location) {
    throw new MistakeError('no_window', 'There are no windows here', 'In an app use startSignIn and finishSignIn')
  }
  const { handle, prompt, signal } = options
  throwIfAborted(signal)
  // Opened at once: a browser allows it only in answer to a click.
  const path = `/login${queryOf({ handle, prompt, pwa: true, origin: page.location.origin })}`
  const window = page.open(caller.url(path), NAME, FEATURES)
  if (!window) {
    throw new MistakeError('window_blocked', 'The browser blocked the window', 'Call this in answer to a click, or use signInUrl')
  }
  // What the window cannot tell, the server keeps for a page of another origin; of its own, the session says enough.
  const isElsewhere = page.location.origin !== caller.url('')
  const told = () => (isElsewhere ? keptEnd(caller, signal) : Promise.resolve(undefined))
  try {
    await told() // an earlier one, that nobody asked for
    const before = await accounts(caller, signal)
    await ended(page, caller, clock, signal, before, told)
  } finally {
    // It closes itself after a good end. A person who has given up need not close it.
    window.close()
  }
}

/** Waits for the end, by whichever way it is known first. */
function ended(
  page: Page,
  caller: Caller,
  clock: Clock,
  signal: AbortSignal | undefined,
  before: Logins,
  told: () => Promise<WindowEndBody | undefined>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let cancel = () => {}
    const settle = (work: () => void) => {
      cancel()
      page.removeEventListener('message', heard)
      signal?.removeEventListener('abort', aborted)
      work()
    }
    const aborted = () => settle(() => reject(reasonOf(signal)))
    const heard = ({ origin, data }: MessageEvent) => {
      if (origin !== caller.url('') || data?.type !== 'oauth-callback') return
      settleBy(data)
    }
    const settleBy = (end: { success?: unknown; error?: unknown }) =>
      settle(() => (end.success === true ? resolve() : reject(refused(end.error))))
    const ask = async () => {
      try {
        const end = await told()
        if (end) return settleBy(end)
        const now = await accounts(caller, signal)
        if ([...now].some(([id, at]) => at > (before.get(id) ?? 0))) return settle(resolve)
      } catch {
        // A moment without network is no end.
      }
      if (!signal?.aborted) cancel = clock.after(PAUSE, ask)
    }
    page.addEventListener('message', heard)
    signal?.addEventListener('abort', aborted, { once: true })
    cancel = clock.after(PAUSE, ask)
  })
}

/** What came of the window, if the server keeps it for this page. One that knows nothing of it is no trouble. */
async function keptEnd(caller: Caller, signal: AbortSignal | undefined): Promise<WindowEndBody | undefined> {
  // Without a body where there is nothing to tell.
  const answer: Promise<WindowEndBody | undefined> = caller.askQuietly('windowEnd', { signal, retry: false })
  return answer.catch(() => undefined)
}

/** When each account signed in last. */
type Logins = ReadonlyMap<string, number>

async function accounts(caller: Caller, signal: AbortSignal | undefined): Promise<Logins> {
  try {
    const { accounts } = await caller.askQuietly('listAccounts', { signal })
    return new Map(accounts.map(({ id, lastLoginAt }: ListedAccount) => [id, lastLoginAt]))
  } catch (error) {
    if (error instanceof SignInRequiredError) return new Map()
    throw error
  }
}

function refused(error: unknown): CallbackError {
  const code = typeof error === 'string' ? error : 'refused'
  return new CallbackError('refused', `The sign-in was refused: ${code}`, 'Begin again if that was a mistake', code)
}
