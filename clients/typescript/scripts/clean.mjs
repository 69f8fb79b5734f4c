// Takes away what an earlier build left, so that a file that is no longer made is not published either.
import { rmSync } from 'node:fs'

for (const folder of ['dist', 'build']) {
  rmSync(new URL(`../${folder}`, import.meta.url), { recursive: true, force: true })
}
