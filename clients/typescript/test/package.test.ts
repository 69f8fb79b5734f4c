import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const CONSUMER = `
import { BowerbirdClient, MemoryStore, SignInRequiredError, type BowerbirdEvent, type SecureStore } from 'bowerbird-client'

const store: SecureStore = new MemoryStore()
const client = new BowerbirdClient({ baseUrl: 'https://bower.example', store, redirect: 'myapp://auth-callback' })
export async function use(signal: AbortSignal): Promise<string> {
  const session = await client.session(signal)
  const { feed } = await client.xrpc.query<{ feed: unknown[] }>('app.bsky.feed.getTimeline', { limit: 5 }, { signal })
  const [account] = await client.accounts.list()
  const status: 'ok' | 'needs_reauth' | undefined = account?.status
  for await (const event of client.events(signal)) {
    const known: BowerbirdEvent = event
    if (known.type === 'missed') break
  }
  // @ts-expect-error a handle is needed
  await client.accounts.add({})
  return [session?.handle, feed.length, status].join()
}
console.log(new SignInRequiredError('a', 'b', 'c').sessionEnded, client.signInUrl({ handle: 'alice.test' }))
`
/** What the tutorials import besides. */
const STRANGERS = `
declare module 'expo-crypto' { export function getRandomBytes(count: number): Uint8Array }
declare module 'expo-secure-store' {
  export const AFTER_FIRST_UNLOCK_THIS_DEVICE_ONLY: number
  export interface SecureStoreOptions { keychainAccessible?: number }
  export function getItemAsync(key: string, options?: SecureStoreOptions): Promise<string | null>
  export function setItemAsync(key: string, value: string, options?: SecureStoreOptions): Promise<void>
  export function deleteItemAsync(key: string, options?: SecureStoreOptions): Promise<void>
}
declare module 'expo-web-browser' {
  export function openAuthSessionAsync(url: string, redirect: string): Promise<{ type: 'success'; url: string } | { type: 'cancel' }>
}
declare module 'expo-linking' { export function getInitialURL(): Promise<string | null> }
declare module 'react' {
  export function useState<T>(): [T | undefined, (value: T | undefined) => void]
  export function useState<T>(value: T): [T, (value: T) => void]
  export function useEffect(effect: () => void | (() => void), on: unknown[]): void
  export function useCallback<T>(callback: T, on: unknown[]): T
}
declare module 'react-native' {
  export const Button: Component, SafeAreaView: Component, Text: Component, TextInput: Component
  export function FlatList<T>(of: { data: T[]; keyExtractor: (item: T) => string; renderItem: (of: { item: T }) => unknown }): Element
}
interface Element { readonly element: true }
type Component = (of: { [name: string]: unknown; onPress?: () => unknown; onChangeText?: (text: string) => void }) => Element
declare namespace JSX {
  type Element = globalThis.Element
  interface ElementChildrenAttribute { children: object }
  interface IntrinsicElements {}
}
`
const OPTIONS = {
  target: 'es2022',
  lib: ['es2022', 'dom'],
  strict: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: false,
  types: [],
  outDir: 'out',
}

let folder = ''
let files: string[] = []

function compile(programs: Readonly<Record<string, string>>, module: object): void {
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
  const files = Object.entries({ ...programs, 'strangers.d.ts': STRANGERS })
  for (const [name, text] of files) writeFileSync(join(folder, name), text)
  const config = { compilerOptions: { ...OPTIONS, ...module }, files: files.map(([name]) => name) }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
  const compiler = join(ROOT, 'node_modules/typescript/bin/tsc')
  const { status, stdout } = spawnSync(process.execPath, [compiler, '-p', folder], { encoding: 'utf8' })
  assert.equal(status, 0, stdout)
}

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'bowerbird-client-'))
  const packed = execFileSync('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], { cwd: ROOT, encoding: 'utf8' })
  const [tarball] = JSON.parse(packed) as Array<{ filename: string; files: Array<{ path: string }> }>
  assert.ok(tarball)
  files = tarball.files.map(({ path }) => path)
  const installed = join(folder, 'node_modules/bowerbird-client')
  mkdirSync(installed, { recursive: true })
  execFileSync('tar', ['xzf', join(folder, tarball.filename), '--strip-components=1', '-C', installed])
})

after(() => rmSync(folder, { recursive: true, force: true }))

test('what is published is the program, its types, its sources, and who may use it', () => {
  const sources = readdirSync(join(ROOT, 'src')).map((file) => file.replace(/\.ts$/, ''))
  const built = sources.flatMap((name) => ['js', 'js.map', 'd.ts', 'd.ts.map'].map((kind) => `dist/${name}.${kind}`))
  const expected = ['LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'package.json', ...built, ...sources.map((name) => `src/${name}.ts`)]
  assert.deepEqual(files.sort(), expected.sort())
})

test('the licences are those of the project, the version is that of the server', () => {
  for (const name of ['LICENSE-APACHE', 'LICENSE-MIT']) {
    assert.equal(readFileSync(join(ROOT, name), 'utf8'), readFileSync(join(ROOT, '../..', name), 'utf8'), name)
  }
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  assert.match(readFileSync(join(ROOT, '../../Cargo.toml'), 'utf8'), new RegExp(`^version = "${version}"$`, 'm'))
})

test('nothing of it needs another package, or Node', () => {
  const { dependencies, peerDependencies, optionalDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  assert.deepEqual([dependencies, peerDependencies, optionalDependencies], [undefined, undefined, undefined])
  for (const file of readdirSync(join(ROOT, 'dist')).filter((name) => name.endsWith('.js'))) {
    const text = readFileSync(join(ROOT, 'dist', file), 'utf8')
    for (const [, name] of text.matchAll(/^(?:import .*|export .*|\} )from '([^']+)'/gm)) assert.match(name ?? '', /^\.\/[\w-]+\.js$/, file)
    assert.doesNotMatch(text, /\b(require|process|Buffer)\b[.(]/, file)
  }
})

for (const [name, module] of [
  ['NodeNext', { module: 'nodenext', moduleResolution: 'nodenext' }],
  ['a bundler', { module: 'esnext', moduleResolution: 'bundler' }],
] as const) {
  test(`a program that installed it compiles for ${name}, and runs`, () => {
    compile({ 'program.ts': CONSUMER }, module)
    const said = execFileSync(process.execPath, [join(folder, 'out/program.js')], { encoding: 'utf8' })
    assert.equal(said, 'true https://bower.example/login?handle=alice.test\n')
  })
}

test('the programs of the tutorials compile', () => {
  const bundler = { module: 'esnext', moduleResolution: 'bundler', noUncheckedIndexedAccess: true, jsx: 'preserve' }
  const programs = (page: string) => {
    const text = readFileSync(join(ROOT, `../../docs/src/tutorials/${page}.md`), 'utf8')
    return [...text.matchAll(/^```tsx?\n(import [^]*?)^```/gm)].map(([, program]) => program ?? '')
  }
  const [main, ...noMore] = programs('web-app')
  const [bower, app, ...nothing] = programs('react-native')
  assert.deepEqual([noMore, nothing], [[], []])
  compile({ 'main.ts': main ?? '' }, bundler)
  compile({ 'bower.ts': bower ?? '', 'App.tsx': app ?? '' }, bundler)
})
