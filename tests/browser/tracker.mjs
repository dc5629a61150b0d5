// The page of a running tracker in headless Chromium: is what it shows what the tracker says?
//
// Prints one line for each step, and `done`. Ends with status 1 and says why at the first thing that is wrong.
import assert from 'node:assert/strict'
import { parseArgs } from 'node:util'

import { chromium } from 'playwright-core'

import { FLAGS } from './flags.mjs'

const text = { type: 'string' }
const { values: wanted } = parseArgs({ options: { url: text, pictures: text, chromium: text, viewers: text } })
const tracker = new URL(wanted.url)
/** How long anything may take on a loaded machine. */
const PATIENCE_MS = 90_000
/** Documents that are compared until one comes while nothing moves. */
const COMPARISONS = 60

const complaints = []
const strangers = new Set()
const ask = async () => (await fetch(new URL('/stats', tracker))).json()

function watch (page) {
  page.on('console', message => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
  })
  page.on('pageerror', error => complaints.push(String(error)))
  page.on('request', request => {
    if (new URL(request.url()).host !== tracker.host) strangers.add(request.url())
  })
}

/** What the page shows, as numbers. */
function read () {
  const value = place => place.querySelector('data').value
  const rows = id => [...document.querySelectorAll(`#${id} tbody tr`)].map(row =>
    [row.querySelector('.name').textContent, ...[...row.querySelectorAll('td')].map(value)])
  const fields = [...document.querySelectorAll('[data-field]')].map(place => [place.dataset.field, value(place)])
  return {
    uptime: Number(document.documentElement.dataset.uptime),
    fields: Object.fromEntries(fields),
    swarms: rows('swarms'),
    networks: rows('networks'),
    rates: ['p2p', 'http', 'up'].map(kind => Number(document.getElementById(`rate-${kind}`).value)),
    drawn: document.querySelectorAll('#rates canvas').length
  }
}

const still = stats => JSON.stringify({ ...stats, uptime_s: 0 })

function same (shown, stats) {
  const { totals } = stats
  for (const [key, value] of Object.entries(shown.fields)) {
    if (key !== 'uptime_s') assert.equal(value, String(totals[key] ?? stats[key]), key)
  }
  const row = (of, keys) => keys.map(key => String(of[key]))
  const figures = ['p2p_bytes', 'peer_efficiency', 'http_bytes']
  assert.deepEqual(shown.swarms, stats.largest_swarms.map(of =>
    row(of, ['swarm', 'viewers', ...figures, 'uploaders', 'p2p_bytes_per_s'])))
  assert.deepEqual(shown.networks, stats.networks.map(of =>
    row(of, ['network', 'watching', ...figures, 'uploaded_bytes', 'p2p_bytes_per_s'])))
  assert.deepEqual(shown.rates, ['p2p', 'http', 'uploaded'].map(kind => totals[`${kind}_bytes_per_s`] * 8 / 1e6))
  assert.equal(shown.drawn, 1, 'there is one chart')
}

/** The next document is shown. */
const next = (page, uptime) => page.waitForFunction(
  uptime => Number(document.documentElement.dataset.uptime) > uptime, uptime, { timeout: PATIENCE_MS })

async function agrees (page) {
  for (let n = 0; n < COMPARISONS; n++) {
    const before = await ask()
    await next(page, before.uptime_s)
    const shown = await page.evaluate(read)
    const after = await ask()
    if (still(before) === still(after)) {
      same(shown, before)
      return n + 1
    }
  }
  throw new Error('the tracker is never still')
}

/** Wide tables can be scrolled by keyboard, and where the focus is can be seen. */
async function keyboard (page) {
  await page.evaluate(() => { document.activeElement?.blur() })
  const stops = []
  for (let n = 0; n < 6; n++) {
    await page.keyboard.press('Tab')
    const [name, outline] = await page.evaluate(() => {
      const at = document.activeElement
      return [at.getAttribute('aria-labelledby') ?? at.className, getComputedStyle(at).outlineStyle]
    })
    if (name) assert.notEqual(outline, 'none', name)
    stops.push(name)
  }
  for (const stop of ['skip', 'swarms-title', 'networks-title']) assert.ok(stops.includes(stop), `${stop} in ${stops}`)
}

async function pictures (page) {
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [1280, 360]) {
      await page.emulateMedia({ colorScheme })
      await page.setViewportSize({ width, height: 800 })
      // One more document, drawn in these colours and this width.
      await next(page, (await page.evaluate(read)).uptime)
      const needed = await page.evaluate(() => document.documentElement.scrollWidth)
      assert.ok(needed <= width, `the page needs ${needed} pixels of ${width}`)
      await page.screenshot({ path: `${wanted.pictures}/tracker-${colorScheme}-${width}.png`, fullPage: true })
    }
  }
}

const browser = await chromium.launch({ executablePath: wanted.chromium, args: FLAGS })
let failed = false
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: 'light' })
  watch(page)
  await page.goto(tracker.href)
  await page.waitForFunction(([viewers]) => {
    const shown = key => Number(document.querySelector(`[data-field="${key}"] data`)?.value)
    return shown('watching') === viewers && shown('p2p_bytes') > 0 && Number(document.getElementById('rate-p2p').value) > 0
  }, [Number(wanted.viewers)], { timeout: PATIENCE_MS })
  console.log('a swarm is shown')
  console.log(`the page agrees with the statistics (${await agrees(page)} comparisons)`)
  await keyboard(page)
  // Whoever opens the page later sees what was before.
  await page.reload()
  await page.waitForFunction(() => document.documentElement.dataset.uptime, null, { timeout: PATIENCE_MS })
  await pictures(page)
  console.log('pictures are taken')
  assert.deepEqual(complaints, [])
  assert.deepEqual([...strangers], [])
  console.log('done')
} catch (error) {
  failed = true
  console.log(error.stack, complaints)
}
await browser.close()
process.exit(failed ? 1 : 0)
