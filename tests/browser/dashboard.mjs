// The dashboard of a running daemon in headless Chromium: is what it shows what the daemon says, and does it steer it?
//
// Prints `idle` once the page says that nothing plays, so that whoever started it can let players begin, and `one stream is
// shown` when another stream may begin; else one line for each step, and `done`. Ends with status 1 and says why at the first thing that is wrong.
import assert from 'node:assert/strict'
import { parseArgs } from 'node:util'

import { chromium } from 'playwright-core'

import { FLAGS } from './flags.mjs'

const text = { type: 'string' }
const { values: wanted } = parseArgs({
  options: { url: text, pictures: text, chromium: text, neighbours: text, without: text, unreached: text, kept: text }
})
const daemon = new URL(wanted.url)
const NEIGHBOURS = Number(wanted.neighbours)
/** How long anything may take on a loaded machine. */
const PATIENCE_MS = 90_000
/** Documents that are compared until one comes while nothing moves. */
const COMPARISONS = 60
const STATES = ['missing', 'loading-http', 'loading-p2p', 'http', 'p2p', 'mixed', 'memory']

const complaints = []
const strangers = new Set()
const ask = async path => (await fetch(new URL(path, daemon))).json()

function watch (page) {
  page.on('console', message => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text())
  })
  page.on('pageerror', error => complaints.push(String(error)))
  page.on('request', request => {
    if (new URL(request.url()).host !== daemon.host) strangers.add(request.url())
  })
}

/** What the page shows, as numbers and as text. */
function read () {
  const field = place => {
    const data = place.querySelector('data')
    return [place.dataset.field, { value: data.value, text: data.textContent }]
  }
  const fields = root => Object.fromEntries([...root.querySelectorAll('[data-field]')].map(field))
  const values = list => [...list].map(data => data.value)
  return {
    uptime: Number(document.documentElement.dataset.uptime),
    totals: fields(document.querySelector('#totals')),
    efficiency: values(document.querySelectorAll('#totals .efficiency data')),
    switches: ['p2p', 'upload', 'auto'].map(name => document.getElementById(name).getAttribute('aria-checked') === 'true'),
    streams: [...document.querySelectorAll('#streams > section')].map(section => ({
      swarm: section.dataset.swarm,
      fields: fields(section),
      efficiency: values(section.querySelectorAll('.efficiency data')),
      map: [...section.querySelectorAll('.map .window')].flatMap(place =>
        [...place.querySelectorAll('li')].map(({ dataset: { sequence, state }, title }) =>
          ({ window: place.dataset.window, sequence: Number(sequence), state, title }))),
      peers: [...section.querySelectorAll('.peers tbody tr')].map(row => {
        const [name, rtt, down, up, useful, now] = row.children
        const value = cell => cell.querySelector('data').value
        return { name: name.textContent, rtt: value(rtt), down: value(down), up: value(up), useful: value(useful), now: now.textContent }
      }),
      reasons: [...section.querySelectorAll('.reasons li')].map(item =>
        [item.dataset.reason, Number(item.querySelector('data').value), item.querySelector('span').textContent])
    }))
  }
}

const SCALE = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9 }

/** Bytes as people read them are the bytes as they are counted. */
function readable ({ value, text }) {
  const [, number, unit] = /^([\d.]+) (\w+)$/.exec(text)
  const step = SCALE[unit] * (number.includes('.') ? 0.1 : 1)
  assert.ok(Math.abs(number * SCALE[unit] - value) <= step * 0.51, `${value} is shown as ${text}`)
}

const BYTES = ['http_bytes', 'p2p_bytes', 'uploaded_bytes', 'wasted_bytes']

/** What only grows is between what the daemon said before and after. */
function between (shown, before, after, what) {
  for (const key of BYTES) {
    const value = Number(shown[key]?.value ?? before[key])
    assert.ok(before[key] <= value && value <= after[key], `${what} ${key}: ${before[key]} <= ${value} <= ${after[key]}`)
    if (shown[key]) readable(shown[key])
  }
}

/** What does not move between two documents in a second in which nothing happens: of all, and of each stream. */
const still = ({ streams, ...all }) => ({
  all: JSON.stringify({ ...all, uptime_s: 0, swarms: streams.map(stream => stream.swarm) }),
  ...Object.fromEntries(streams.map(stream => [stream.swarm, JSON.stringify({ ...stream, buffered_s: 0, critical_s: 0 })]))
})

const notFromPeers = stream => {
  const counts = {}
  for (const { reason, source, late } of stream.segments) {
    if (late || source === 'http' || source === 'mixed') counts[reason] = (counts[reason] ?? 0) + 1
  }
  return counts
}

/** Of these parts the page shows all that the daemon says. */
function same (shown, stats, parts) {
  if (parts.includes('all')) sameTotals(shown, stats)
  for (const stream of stats.streams.filter(({ swarm }) => parts.includes(swarm))) sameStream(shown, stream)
}

const ratios = of => [of.peer_efficiency, of.peer_efficiency_ceiling].map(String)

function sameTotals (shown, stats) {
  assert.deepEqual(shown.switches, [stats.p2p, stats.upload, stats.upload_mode === 'auto'])
  for (const [key, { value }] of Object.entries(shown.totals)) assert.equal(value, String(stats.totals[key]), key)
  assert.deepEqual(shown.efficiency, ratios(stats.totals))
  assert.deepEqual(shown.streams.map(stream => stream.swarm).sort(), stats.streams.map(stream => stream.swarm).sort())
}

function sameStream (shown, stream) {
  const { fields, efficiency, map, peers, reasons } = shown.streams.find(({ swarm }) => swarm === stream.swarm)
  for (const [key, { value }] of Object.entries(fields)) {
    if (key !== 'buffered_s') assert.equal(value, String(stream[key] ?? ''), key)
  }
  assert.deepEqual(efficiency, ratios(stream))
  const squares = list => list.map(({ sequence, state, window }) => ({ sequence, state, window }))
  assert.deepEqual(squares(map), squares(stream.map))
  assert.deepEqual(peers.map(({ now, ...peer }) => peer), stream.peers.map(peer => ({
    name: peer.name, rtt: String(peer.rtt_ms ?? ''), down: String(peer.down_bytes), up: String(peer.up_bytes),
    useful: String(peer.useful)
  })))
  assert.deepEqual(Object.fromEntries(reasons), notFromPeers(stream))
  for (const [reason,, words] of reasons) assert.ok(words.length > 20 && words !== reason, `${reason}: ${words}`)
}

/**
 * The page shows what the daemon says: never anything else than between two answers, and all of it of what is alike in both.
 * It goes on until all and each stream were compared.
 */
async function agrees (page) {
  const compared = new Set()
  for (let n = 0; n < COMPARISONS; n++) {
    const before = await ask('/-/stats')
    await page.waitForFunction(uptime => document.documentElement.dataset.uptime > uptime, before.uptime_s, { timeout: PATIENCE_MS })
    const shown = await page.evaluate(read)
    const after = await ask('/-/stats')
    between(shown.totals, before.totals, after.totals, 'totals')
    for (const { swarm, fields, map } of shown.streams) {
      const [old, now] = [before, after].map(({ streams }) => streams.find(stream => stream.swarm === swarm))
      if (!old || !now) continue
      between(fields, old, now, swarm)
      for (const { sequence, state, title } of map) {
        assert.ok(STATES.includes(state), state)
        assert.ok(title.startsWith(`segment ${sequence}, `), title)
      }
    }
    const [old, now] = [before, after].map(still)
    const parts = Object.keys(old).filter(part => old[part] === now[part])
    same(shown, before, parts)
    for (const part of parts) compared.add(part)
    if (Object.keys(now).every(part => compared.has(part))) return n + 1
  }
  throw new Error('the daemon is never still')
}

const checked = (page, name, state) =>
  page.waitForSelector(`#${name}[aria-checked="${state}"]:not([aria-busy])`, { timeout: PATIENCE_MS })

/** Waits until the page shows so many neighbours of the stream that all play, which began first. */
const neighbours = (page, least, most) => page.waitForFunction(([least, most]) => {
  const shown = document.querySelector('#streams > [data-channel="news"] [data-field="neighbours"] data')
  return shown && least <= Number(shown.value) && Number(shown.value) <= most
}, [least, most], { timeout: PATIENCE_MS })

/** Comes to a switch by Tab alone, and presses a key. */
async function press (page, name, key) {
  await page.evaluate(() => { document.activeElement?.blur() })
  for (let n = 0; n < 20; n++) {
    await page.keyboard.press('Tab')
    if (await page.evaluate(name => document.activeElement.id === name, name)) {
      const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle)
      assert.notEqual(outline, 'none', 'where the focus is can be seen')
      return page.keyboard.press(key)
    }
  }
  throw new Error(`${name} is not reached by Tab`)
}

async function pictures (page, name) {
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [1280, 360]) {
      await page.emulateMedia({ colorScheme })
      await page.setViewportSize({ width, height: 800 })
      // One more document, drawn in these colours and this width.
      const { uptime } = await page.evaluate(read)
      await page.waitForFunction(uptime => document.documentElement.dataset.uptime > uptime, uptime, { timeout: PATIENCE_MS })
      const needed = await page.evaluate(() => document.documentElement.scrollWidth)
      assert.ok(needed <= width, `${name} needs ${needed} pixels of ${width}`)
      await page.screenshot({ path: `${wanted.pictures}/${name}-${colorScheme}-${width}.png`, fullPage: true })
    }
  }
  await page.emulateMedia({ colorScheme: 'light' })
  await page.setViewportSize({ width: 1280, height: 800 })
}

async function swarm (page) {
  await neighbours(page, NEIGHBOURS, NEIGHBOURS)
  await page.waitForFunction(() => {
    const there = states => document.querySelector(states.map(state => `.map li[data-state="${state}"]`).join())
    return there(['p2p', 'mixed']) && there(['http']) && document.querySelector('.reasons li')
  }, null, { timeout: PATIENCE_MS })
  assert.ok(await page.isHidden('#lonely'), 'the tracker is there')
  const { streams: [{ map }] } = await page.evaluate(read)
  const windows = new Set(map.map(({ window }) => window))
  assert.ok(windows.has('critical') && windows.has('prefetch'), [...windows].join())
  const sequences = map.map(({ sequence }) => sequence)
  assert.deepEqual(sequences, [...sequences].sort((a, b) => a - b), 'from the playhead onwards')
  assert.ok(sequences.length <= 64)
}

/** Notes what the page hears, before the page does. */
function overhear () {
  window.heard = {}
  window.EventSource = class extends EventSource {
    constructor (...address) {
      super(...address)
      this.addEventListener('past', ({ data }) => {
        const points = past => past.map(([at, p2p, http, up]) => ({ at, p2p, http, up }))
        const { totals, streams } = JSON.parse(data)
        window.past = Object.entries({ '': totals, ...streams }).map(([of, past]) => [of, points(past)])
        window.heard = Object.fromEntries(window.past.map(([of, past]) => [of, [...past]]))
      })
      this.addEventListener('stats', ({ data }) => {
        const { uptime_s: at, totals, streams } = JSON.parse(data)
        const sums = ({ p2p_bytes: p2p, http_bytes: http, uploaded_bytes: up }) => ({ at, p2p, http, up })
        const hear = (of, what) => (window.heard[of] ??= []).push(sums(what))
        hear('', totals)
        for (const stream of streams) {
          // One that was not there the second before had nothing then.
          window.heard[stream.swarm] ??= [{ at: window.heard[''].at(-2)?.at ?? at, p2p: 0, http: 0, up: 0 }]
          hear(stream.swarm, stream)
        }
      })
    }
  }
}

/**
 * What the page has heard so far, the rates that a chart of it shows, and how high each of its lines reaches, in pixels: the
 * chart of the stream of this swarm, or of all together.
 */
function drawn (of) {
  const place = document.querySelector(of ? `#streams > [data-swarm="${of}"] .throughput` : '#together')
  const canvas = place.querySelector('canvas')
  const { width, height } = canvas
  // A canvas that is read again and again is drawn in software from then on, with a warning: a copy is read.
  const copy = new OffscreenCanvas(width, height).getContext('2d')
  copy.drawImage(canvas, 0, 0)
  const pixels = copy.getImageData(0, 0, width, height).data
  const plot = place.querySelector('.u-over').getBoundingClientRect()
  const scale = height / canvas.getBoundingClientRect().height
  const bottom = (plot.bottom - canvas.getBoundingClientRect().top) * scale
  const rgb = kind => {
    const colour = getComputedStyle(document.documentElement).getPropertyValue(`--${kind}`).trim()
    const [, ...parts] = /^#(..)(..)(..)$/.exec(colour.replace(/^#(.)(.)(.)$/, '#$1$1$2$2$3$3'))
    return parts.map(part => parseInt(part, 16))
  }
  // The faint area below a line is of its colour, too.
  const is = (colour, at) => pixels[at + 3] > 200 && colour.every((part, n) => Math.abs(part - pixels[at + n]) < 24)
  const highest = kind => {
    const colour = rgb(kind)
    for (let at = 0; at < pixels.length; at += 4) {
      if (is(colour, at)) return bottom - Math.floor(at / 4 / width)
    }
    return null
  }
  // The share of the width at which a line begins that comes from above the bottom.
  const left = (plot.left - canvas.getBoundingClientRect().left) * scale
  const colours = ['p2p', 'http'].map(rgb)
  const leftmost = () => {
    for (let x = Math.ceil(left); x < width; x++) {
      for (let y = 0; y < bottom - 5; y++) {
        if (colours.some(colour => is(colour, (y * width + x) * 4))) return (x - left) / (plot.width * scale)
      }
    }
    return 1
  }
  return {
    heard: window.heard[of],
    shown: Object.fromEntries(['p2p', 'http', 'up'].map(kind => [kind, Number(place.querySelector(`[data-rate="${kind}"]`).value)])),
    highest: { p2p: highest('p2p'), http: highest('http') },
    height: plot.height * scale,
    leftmost: leftmost()
  }
}

/** Megabits in a second, over five seconds each, of what was heard. */
function rates (heard) {
  return heard.map(({ at, ...now }, index) => {
    const before = heard.slice(0, index).findLast(past => at - past.at >= 4.99) ?? heard[0]
    const rate = kind => at > before.at ? (now[kind] - before[kind]) * 8 / 1e6 / (at - before.at) : 0
    return { at, p2p: rate('p2p'), http: rate('http'), up: rate('up') }
  })
}

/** Each chart, that of all streams and those of each, shows what came from peers and from the origin, when it came. */
async function throughput (page, streams) {
  await page.waitForFunction(charts => {
    const heard = Object.values(window.heard).filter(points => points.at(-1)?.at === window.heard[''].at(-1)?.at)
    return heard.length === charts && heard.every(points => {
      const [first, last] = [points[0], points.at(-1)]
      return last.at - first.at >= 30 && last.p2p > 0 && last.http > 0
    })
  }, 1 + streams, { timeout: PATIENCE_MS })
  const swarms = (await page.evaluate(read)).streams.map(stream => stream.swarm)
  assert.equal(swarms.length, streams)
  assert.equal(await page.isVisible('#together'), streams !== 1, 'one stream alone is not shown twice')
  for (const of of streams === 1 ? swarms : ['', ...swarms]) await agreeing(page, of)
}

/** A chart agrees with what was said of its stream, or of all of them. */
async function agreeing (page, of) {
  const { heard, shown, highest, height } = await page.evaluate(drawn, of)
  const now = heard.at(-1).at
  const points = rates(heard).filter(({ at }) => at >= now - 180)
  for (const kind of ['p2p', 'http', 'up']) {
    assert.ok(Math.abs(shown[kind] - points.at(-1)[kind]) < 1e-9, `${kind}: ${shown[kind]} is shown, ${points.at(-1)[kind]} it is`)
  }
  const most = kind => Math.max(...points.map(point => point[kind]))
  const top = Math.max(...['p2p', 'http', 'up'].map(most)) * 1.1
  for (const kind of ['p2p', 'http']) {
    assert.ok(most(kind) > 0.05, `${kind}: ${most(kind)} Mbit/s at most`)
    const expected = most(kind) / top * height
    assert.ok(Math.abs(highest[kind] - expected) < 5, `${kind} reaches ${highest[kind]} of ${height} pixels, not ${expected}`)
  }
}

/** Whoever opens the page again sees what was before. */
async function reopened (page) {
  const heard = await page.evaluate(() => window.heard)
  const { uptime, streams } = await page.evaluate(read)
  await page.reload()
  await page.waitForFunction(uptime => document.documentElement.dataset.uptime > uptime, uptime, { timeout: PATIENCE_MS })
  const past = Object.fromEntries(await page.evaluate(() => window.past))
  const all = ['', ...streams.map(({ swarm }) => swarm)]
  assert.deepEqual(Object.keys(past).sort(), [...all].sort())
  for (const of of all) {
    assert.ok(past[of].length <= 37)
    for (const point of past[of]) {
      const [before, after] = [heard[of].findLast(({ at }) => at < point.at), heard[of].find(({ at }) => at > point.at)]
      for (const kind of before && after ? ['p2p', 'http', 'up'] : []) {
        assert.ok(before[kind] <= point[kind] && point[kind] <= after[kind], `${of} ${kind} at ${point.at}: ${point[kind]}`)
      }
    }
    await agreeing(page, of)
    const { leftmost, heard: now } = await page.evaluate(drawn, of)
    const begins = now.at(-1).at - 180 * (1 - leftmost)
    assert.ok(begins < uptime - 20, `the line of ${of || 'all'} begins at ${begins}; opened again at ${uptime}`)
  }
}

/** Squares are told in words to whoever comes there by keyboard. */
async function explored (page) {
  await page.evaluate(() => { document.activeElement?.blur() })
  const square = () => page.evaluate(() => document.activeElement.closest('.map li') && [
    [...document.querySelectorAll('.map li')].indexOf(document.activeElement),
    document.activeElement.title, document.querySelector('.told').textContent
  ])
  for (let n = 0; n < 20 && !await square(); n++) await page.keyboard.press('Tab')
  await page.keyboard.press('Home')
  await page.keyboard.press('ArrowRight')
  const [at, title, told] = await square()
  assert.deepEqual([at, told.toLowerCase()], [1, title.toLowerCase()])
  await page.keyboard.press('Tab')
  assert.equal(await square(), null, 'the map is one stop')
}

async function switches (page) {
  await page.click('#p2p')
  await checked(page, 'p2p', false)
  assert.equal((await ask('/-/p2p')).p2p, false)
  await neighbours(page, 0, 0)
  await agrees(page)
  await press(page, 'p2p', 'Space')
  await checked(page, 'p2p', true)
  assert.equal((await ask('/-/p2p')).p2p, true)
  await neighbours(page, 1, NEIGHBOURS)
  await press(page, 'upload', 'Enter')
  await checked(page, 'upload', false)
  const hold = async expected => {
    const { p2p, upload, upload_mode: mode } = await ask('/-/p2p')
    assert.deepEqual([p2p, upload, mode], expected)
  }
  await hold([true, false, 'never'])
  await checked(page, 'auto', false)
  await page.click('#upload')
  await checked(page, 'upload', true)
  await hold([true, true, 'always'])
  await press(page, 'auto', 'Space')
  await checked(page, 'auto', true)
  await hold([true, true, 'auto'])
  await page.click('#auto')
  await checked(page, 'auto', false)
  await hold([true, true, 'always'])
  // Somebody else switches: the page follows.
  const change = body => fetch(new URL('/-/p2p', daemon), {
    method: 'POST', headers: { 'Content-Type': 'application/json', 'X-Paceline': '1' }, body: JSON.stringify(body)
  })
  const says = (id, text) => page.waitForFunction(([id, text]) => {
    const place = document.getElementById(id)
    return !place.hidden && place.textContent.includes(text)
  }, [id, text], { timeout: PATIENCE_MS })
  await change({ upload_daily: '999GB', upload_monthly: '2000GB' })
  await says('budget', ' of 999 GB today, ')
  await change({ upload_daily: 1 })
  await says('withheld', 'the daily upload budget of 0.0 MB is spent until')
  await checked(page, 'upload', false)
  // Without auto-pause uploads go on once the reason is gone.
  await change({ upload: 'auto' })
  await checked(page, 'auto', true)
  await checked(page, 'upload', false)
  await page.click('#auto')
  await checked(page, 'auto', false)
  await hold([true, false, 'always'])
  await change({ upload_daily: 0, upload_monthly: 0 })
  await page.waitForSelector('#budget', { state: 'hidden', timeout: PATIENCE_MS })
  await checked(page, 'upload', true)
  await change({ upload: false })
  await checked(page, 'upload', false)
}

/** Daemons that meet nobody say why. */
async function lonely (browser) {
  for (const [name, text] of [
    ['without', 'No tracker is configured'],
    ['unreached', 'The tracker is not reached'],
    ['kept', 'P2P is off for everything that plays']
  ]) {
    const page = await browser.newPage()
    await page.goto(new URL('/-/', wanted[name]).href)
    await page.waitForSelector(`#lonely:not([hidden]):has-text("${text}")`, { timeout: PATIENCE_MS })
    const used = await page.locator('#streams .nobody').allTextContents()
    assert.deepEqual(used, { without: [], unreached: ['No neighbours yet.'], kept: ['Peers are not used for this stream.'] }[name])
    await page.screenshot({ path: `${wanted.pictures}/${name}.png`, fullPage: true })
    await page.close()
  }
}

const browser = await chromium.launch({ executablePath: wanted.chromium, args: FLAGS })
let failed = false
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: 'light' })
  watch(page)
  await page.addInitScript(overhear)
  await page.goto(new URL('/-/', daemon).href)
  await page.waitForSelector('#idle:not([hidden])', { timeout: PATIENCE_MS })
  assert.match(await page.textContent('#idle'), new RegExp(`Point a player at ${daemon.origin}/`))
  await page.screenshot({ path: `${wanted.pictures}/idle-light-1280.png`, fullPage: true })
  console.log('idle')
  await swarm(page)
  console.log('a swarm is shown')
  console.log(`the page agrees with the statistics (${await agrees(page)} comparisons)`)
  await throughput(page, 1)
  console.log('one stream is shown')
  await throughput(page, 2)
  console.log(`two streams have a chart each (${await agrees(page)} comparisons)`)
  await reopened(page)
  console.log('who opens the page again sees what was before')
  await explored(page)
  await pictures(page, 'swarm')
  console.log('pictures are taken')
  await switches(page)
  console.log('switches work')
  await lonely(browser)
  console.log('daemons that meet nobody say why')
  assert.deepEqual(complaints, [])
  assert.deepEqual([...strangers], [])
  console.log('done')
} catch (error) {
  failed = true
  console.log(error.stack, complaints)
}
await browser.close()
process.exit(failed ? 1 : 0)
