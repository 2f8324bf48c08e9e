export default function P() { return <h1>billing</h1> }
