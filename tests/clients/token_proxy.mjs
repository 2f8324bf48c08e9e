// A proxy that puts an access token in front of the MCP server, for programs that cannot log in: the conformance suite.
// It forwards everything else as it is, both ways. It stands for a client's login and nothing else.
//
//   node token_proxy.mjs <url of the server> <access token>
//
// Prints its URL.
import { createServer, request as send } from 'node:http'

const [target, token] = process.argv.slice(2)
if (!target || !token) {
  console.error('usage: token_proxy.mjs <url of the server> <access token>')
  process.exit(2)
}
const { hostname, port, host } = new URL(target)

const server = createServer((request, response) => {
  const own = `127.0.0.1:${server.address().port}`
  // Its own address stands for the server's; a foreign one stays what it is, and is for the server to refuse.
  const asTarget = (value) => value?.replace(own, host).replace(own.replace('127.0.0.1', 'localhost'), host)
  const headers = { ...request.headers, authorization: `Bearer ${token}` }
  for (const name of ['host', 'origin']) if (headers[name]) headers[name] = asTarget(headers[name])
  const forwarded = send({ hostname, port, path: request.url, method: request.method, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers)
    answer.pipe(response)
  })
  forwarded.on('error', () => response.destroy())
  // Who closes the response cancels the call.
  response.on('close', () => forwarded.destroy())
  request.pipe(forwarded)
})
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`))
