// A bittorrent-tracker server over WebSocket on a free port of this machine; prints its address.
import Server from 'bittorrent-tracker/server'

const server = new Server({ udp: false, http: false, ws: true, stats: false, interval: 20000 })
server.on('error', error => { console.error(error.message); process.exit(1) })
server.on('warning', warning => console.error(warning.message))
server.listen(0, '127.0.0.1', () => console.log(`ws://127.0.0.1:${server.ws.address().port}/`))
