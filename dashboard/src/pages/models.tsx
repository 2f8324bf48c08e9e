export default function P() { return <h1>models</h1> }
