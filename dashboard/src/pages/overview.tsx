export default function P() { return <h1>overview</h1> }
