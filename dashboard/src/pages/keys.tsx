export default function P() { return <h1>keys</h1> }
