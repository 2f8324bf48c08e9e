export default function P() { return <h1>connections</h1> }
