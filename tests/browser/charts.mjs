// The charts of the dashboard: does each show what was said of its stream, and when?
import assert from 'node:assert/strict'

import { PATIENCE_MS, read } from './shown.mjs'

/** Notes what the page hears, before the page does. */
export function overhear () {
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
export async function throughput (page, streams) {
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
export async function reopened (page) {
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
