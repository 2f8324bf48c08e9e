import { store } from './store'

/** Counts changes of the language; every page is drawn anew then. */
export const drawn = store(0)
