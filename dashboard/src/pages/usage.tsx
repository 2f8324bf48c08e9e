export default function P() { return <h1>usage</h1> }
