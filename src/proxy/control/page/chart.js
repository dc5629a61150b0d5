// HTTP against P2P over time.
import { KINDS, graph } from './graph.js'

/** Seconds that are shown. */
const SHOWN = 180
/** Seconds over which a rate is taken: segments come in bursts. */
const OVER = 5
/** Moments are told in tenths, which don't add up exactly. */
const HAIR = 0.01

/** A chart in this place; what it is of is said to whoever does not see it. `end` it when the place goes. */
export function chart (place, of) {
  place.append(document.getElementById('throughput').content.cloneNode(true))
  const canvas = place.querySelector('.rates')
  canvas.setAttribute('aria-label', `Throughput of ${of}, in Mbit/s, in the last three minutes`)
  const numbers = Object.fromEntries(KINDS.map(kind => [kind, place.querySelector(`[data-rate="${kind}"]`)]))
  const drawing = graph(canvas, numbers)
  const points = []

  function note (at, sums) {
    const last = points.at(-1)
    // The daemon was started again, or the stream was.
    if (last && (at < last.at || KINDS.some(kind => sums[kind] < last.sums[kind]))) points.length = 0
    const before = points.findLast(point => at - point.at >= OVER - HAIR) ?? points[0]
    const rate = (now, then) => before && at > before.at ? (now - then) * 8 / 1e6 / (at - before.at) : 0
    const point = { at, sums }
    for (const kind of KINDS) point[kind] = rate(sums[kind], before?.sums[kind])
    if (!points.length || at > points.at(-1).at) points.push(point)
    while (points[0].at < at - SHOWN - OVER) points.shift()
  }

  return {
    /** Begins with a past: when, and how many bytes until then from peers, from origins and to peers. */
    begin (past) {
      points.length = 0
      for (const [at, p2p, http, up] of past) note(at, { p2p, http, up })
    },
    /** Takes in what the statistics say of it, and draws while it is seen. */
    take (at, { p2p_bytes: p2p, http_bytes: http, uploaded_bytes: up }) {
      note(at, { p2p, http, up })
      if (!place.hidden) drawing.draw(points, SHOWN, 3)
    },
    end: drawing.end
  }
}
