// Lets `mppx validate` pay on the local chain instead of asking a public faucet:
//
//   FAREBOX_DEV=<dev.json> MPPX_CONFIG=tests/clients/mppx.config.mjs mppx validate <url> --yes
import { tempo } from 'mppx/client'
import { connect, readDev } from './lib.mjs'

const dev = readDev(process.env.FAREBOX_DEV)

export default { methods: [tempo.common({ ...connect(dev), maxDeposit: '1' })] }
