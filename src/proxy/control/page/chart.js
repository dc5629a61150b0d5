// HTTP against P2P over time.
import { KINDS, graph } from './graph.js'

/** Seconds that are shown. */
const SHOWN = 180
/** Seconds over which a rate is taken: segments come in bursts. */
const OVER = 5

const points = []
let draw

/** Takes in a document of the statistics and draws. */
export function chart (place, stats) {
  const { p2p_bytes: p2p, http_bytes: http, uploaded_bytes: up } = stats.totals
  const at = stats.uptime_s
  // The daemon was started again.
  if (points.length && at < points.at(-1).at) points.length = 0
  const before = points.findLast(point => at - point.at >= OVER) ?? points[0]
  const rate = (now, then) => before && at > before.at ? (now - then) * 8 / 1e6 / (at - before.at) : 0
  const sums = { p2p, http, up }
  const point = { at, sums }
  for (const kind of KINDS) point[kind] = rate(sums[kind], before?.sums[kind])
  if (!points.length || at > points.at(-1).at) points.push(point)
  while (points[0].at < at - SHOWN - OVER) points.shift()
  draw ??= graph(place)
  draw(points, SHOWN, 3)
}
