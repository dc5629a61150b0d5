// Rates over time, drawn by uPlot in the colours of the page.
/* global uPlot */
import { megabits, say } from './dom.js'

const HEIGHT = 180
/** What is drawn: from peers, from origins, to peers. */
export const KINDS = ['p2p', 'http', 'up']

function colour (name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()
}

function axis (more) {
  const line = { stroke: colour('faint'), width: 1 }
  return { stroke: colour('muted'), font: '12px system-ui, sans-serif', grid: line, ticks: line, ...more }
}

/**
 * A graph, and the elements for the rates of now. `draw` takes points `{ at, p2p, http, up }`, oldest first, in seconds and
 * Mbit/s, and draws those of the last seconds, as many as are said, marked in so many parts; the last point is now. `end` it
 * when its place goes.
 */
export function graph (place, numbers) {
  const dark = matchMedia('(prefers-color-scheme: dark)')
  const resized = new ResizeObserver(() => {
    // Hidden, it has no width.
    if (place.clientWidth > 0) plot.setSize({ width: place.clientWidth, height: HEIGHT })
  })
  let plot
  let columns = [[], [], [], []]
  let shown, parts
  const marks = () => Array.from({ length: parts + 1 }, (_, at) => Math.round((at / parts - 1) * shown))

  function make () {
    plot?.destroy()
    plot = new uPlot({
      width: place.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      cursor: { show: false },
      scales: {
        x: { time: false, range: () => [-shown, 0] },
        y: { range: (_, least, most) => [0, Math.max(most * 1.1, 0.1)] }
      },
      axes: [
        axis({ values: (_, at) => at.map(t => t === 0 ? 'now' : `${t / 60} min`), splits: marks }),
        axis({ size: 46 })
      ],
      series: [
        {},
        { stroke: colour('p2p'), width: 2.5, fill: colour('p2p-faint'), points: { show: false } },
        { stroke: colour('http'), width: 2.5, dash: [8, 4], points: { show: false } },
        { stroke: colour('up'), width: 2, dash: [2, 3], points: { show: false } }
      ]
    }, columns, place)
  }

  function draw (points, over, into) {
    ;[shown, parts] = [over, into]
    const now = points.at(-1)
    columns = [points.map(point => point.at - now.at), ...KINDS.map(kind => points.map(point => point[kind]))]
    for (const kind of KINDS) {
      numbers[kind].value = now[kind]
      say(numbers[kind], megabits(now[kind]))
    }
    if (plot) return plot.setData(columns)
    make()
    // Neither changes often, and a new one is drawn in a few milliseconds.
    resized.observe(place)
    dark.addEventListener('change', make)
  }

  function end () {
    resized.disconnect()
    dark.removeEventListener('change', make)
    plot?.destroy()
  }

  return { draw, end }
}
