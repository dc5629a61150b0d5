// HTTP against P2P over time, drawn by uPlot.
/* global uPlot */
import { megabits } from './words.js'

/** Seconds that are shown. */
const SHOWN = 180
/** Seconds over which a rate is taken: segments come in bursts. */
const OVER = 5
const HEIGHT = 180
const KINDS = ['p2p', 'http', 'up']

const points = []
let plot

function colour (name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()
}

function axis (more) {
  const line = { stroke: colour('faint'), width: 1 }
  return { stroke: colour('muted'), font: '12px system-ui, sans-serif', grid: line, ticks: line, ...more }
}

function draw (place) {
  plot?.destroy()
  plot = new uPlot({
    width: place.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { time: false, range: [-SHOWN, 0] },
      y: { range: (_, least, most) => [0, Math.max(most * 1.1, 0.1)] }
    },
    axes: [
      axis({ values: (_, at) => at.map(t => t === 0 ? 'now' : `${t / 60} min`), splits: () => [-180, -120, -60, 0] }),
      axis({ size: 46 })
    ],
    series: [
      {},
      { stroke: colour('p2p'), width: 2.5, fill: colour('p2p-faint'), points: { show: false } },
      { stroke: colour('http'), width: 2.5, dash: [8, 4], points: { show: false } },
      { stroke: colour('up'), width: 2, dash: [2, 3], points: { show: false } }
    ]
  }, columns(), place)
}

function columns () {
  const last = points.at(-1)?.at ?? 0
  return [points.map(point => point.at - last), ...KINDS.map(kind => points.map(point => point[kind]))]
}

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
  for (const kind of KINDS) {
    const data = document.getElementById(`rate-${kind}`)
    data.value = point[kind]
    data.textContent = megabits(point[kind])
  }
  if (!plot) {
    draw(place)
    // Neither changes often, and a new one is drawn in a few milliseconds.
    new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place)
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => draw(place))
  } else {
    plot.setData(columns())
  }
}
