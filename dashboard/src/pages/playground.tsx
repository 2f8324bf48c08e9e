export default function P() { return <h1>playground</h1> }
