import './styles.css'
import './lib/i18n'
import { render } from 'preact'
import { App } from './app'
import { begin } from './api/session'
import { listen } from './api/events'
import { lookForWallets } from './api/wallets'
import { interceptLinks } from './lib/router'
import { applyTheme } from './lib/theme'

applyTheme()
interceptLinks()
lookForWallets()
listen()
void begin()
render(<App />, document.getElementById('app') as HTMLElement)
