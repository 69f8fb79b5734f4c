// What the environment says, in the form in which it is used.
import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'

/** The given port; for 0 a free one on loopback, since dev-env takes 0 for its own default. */
export async function freePort(given, usual) {
  const wanted = Number(given ?? usual)
  if (wanted) return wanted
  const server = net.createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** A number, or nothing where the variable is unset or empty. */
export const milliseconds = (text) => (text === undefined || text === '' ? undefined : Number(text))

/** `a=1,b=2` as pairs; only the first `=` separates. */
export const pairs = (text) =>
  (text ?? '').split(',').filter(Boolean).map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)])

/** A folder of this run's own under `tmp/`; those of runs that were killed are taken away. */
export function workFolder(home) {
  const all = path.join(home, 'tmp')
  fs.mkdirSync(all, { recursive: true })
  for (const name of fs.readdirSync(all)) {
    const owner = /^run-(\d+)-/.exec(name)?.[1]
    if (owner && !alive(Number(owner))) fs.rmSync(path.join(all, name), { recursive: true, force: true })
  }
  return fs.mkdtempSync(path.join(all, `run-${process.pid}-`))
}

function alive(pid) {
  try { process.kill(pid, 0); return true } catch (error) { return error.code === 'EPERM' }
}
