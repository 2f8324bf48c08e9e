export default function P() { return <h1>channels</h1> }
