import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import { fileURLToPath } from 'node:url'

const DIST = fileURLToPath(new URL('../../dist/', import.meta.url))

/** The page of an app: the published files as they are, no bundler between. */
const page = (baseUrl: string) => `<!doctype html><meta charset="utf-8"><title>app</title><script type="module">
import { BowerbirdClient } from './dist/index.js'
window.told = []
window.client = new BowerbirdClient({ baseUrl: '${baseUrl}', onSignInRequired: ({ reason }) => window.told.push(reason) })
</script>`

/** Answers with the app's files; false when the address is none of them. */
function answer(path: string, baseUrl: string, response: ServerResponse): boolean {
  if (!path.startsWith('/app/')) return false
  const name = /^\/app\/dist\/([\w-]+\.js)$/.exec(path)?.[1]
  if (path === '/app/') response.writeHead(200, { 'content-type': 'text/html' }).end(page(baseUrl))
  else if (name && existsSync(DIST + name)) response.writeHead(200, { 'content-type': 'text/javascript' }).end(readFileSync(DIST + name))
  else response.writeHead(404).end()
  return true
}

/** Passes a request on as it is, and the answer as it comes: streams stay streams. */
function pass(incoming: IncomingMessage, outgoing: ServerResponse, behind: string): void {
  const { url, method, headers } = incoming
  const onward = request(behind + url, { method, headers }, (answered) => {
    outgoing.writeHead(answered.statusCode ?? 502, answered.headers)
    answered.pipe(outgoing)
  })
  onward.on('error', () => outgoing.destroy())
  outgoing.on('close', () => onward.destroy())
  incoming.pipe(onward)
}

/** The servers of one test. */
export class Fronts {
  readonly #servers: Server[] = []

  /**
   * A front server: `/app/` is the app's, everything else is passed on to the server behind, if there is one. Gives its
   * origin; port 0 is any free one.
   */
  async open(port: number, baseUrl: string, behind?: string): Promise<string> {
    const server = createServer((incoming, outgoing) => {
      if (answer(incoming.url ?? '', baseUrl, outgoing)) return
      if (behind) pass(incoming, outgoing, behind)
      else outgoing.writeHead(404).end()
    })
    this.#servers.push(server)
    await new Promise<void>((resolve, reject) => server.on('error', reject).listen(port, '127.0.0.1', resolve))
    const address = server.address()
    assert.ok(address && typeof address === 'object')
    return `http://127.0.0.1:${address.port}`
  }

  /** Closes them, and what is still open on them. */
  close(): void {
    for (const server of this.#servers) {
      server.close()
      server.closeAllConnections()
    }
  }
}
