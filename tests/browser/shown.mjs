// What the dashboard shows, for what is compared with it.

/** How long anything may take on a loaded machine. */
export const PATIENCE_MS = 90_000

/** What the page shows, as numbers and as text. */
export function read () {
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
