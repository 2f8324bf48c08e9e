//! Instructions that `farebox dev` prints, with its own URL and keys, and the same keys for a shell. Tests run every line
//! that is printed.

use std::path::Path;

use super::DevInfo;

/// Versions that are tested together (`tests/clients/package.json`): npm's newest `viem` does not go with this `mppx`.
const MPPX: &str = "npx -y -p mppx@0.11.0 -p viem@2.55.13 mppx";

/// Makes the content of `dev.env`: what OpenAI's clients and mppx's command line read from the environment.
pub(super) fn environment(info: &DevInfo) -> String {
    let DevInfo { url, api_key, agent_private_key, rpc_url, .. } = info;
    format!(
        "export OPENAI_BASE_URL={url}/v1\nexport OPENAI_API_KEY={api_key}\nexport \
         MPPX_PRIVATE_KEY={agent_private_key}\nexport MPPX_RPC_URL={rpc_url}\n"
    )
}

/// Makes the text for the terminal. Lines with four spaces before them are commands.
pub(super) fn for_terminal(info: &DevInfo, model: &str, data: &Path) -> String {
    let DevInfo { url, api_key, agent_private_key, rpc_url, chain_id, .. } = info;
    let data = data.display();
    let preview = r#"'{"text":"Mail jane@example.com"}'"#;
    let chat = format!(r#"'{{"model":"{model}","messages":[{{"role":"user","content":"Hello there"}}]}}'"#);
    format!(
        "farebox dev

  server     {url}
  dashboard  {url}/dashboard (sign in with a wallet extension or a passkey)
  chain      {rpc_url} (Tempo on anvil, chain {chain_id})
  wallet     {data}/dev.json holds a funded key, {data}/dev.env the same for a shell

Stop with Ctrl-C. In another terminal, as an agent without an account: a challenge, and two ways to pay it.

    curl -i {url}/mpp/pii/preview --json {preview}
    MPPX_PRIVATE_KEY={agent_private_key} {MPPX} {url}/mpp/pii/preview -r {rpc_url} -J {preview}
    cargo run --example agent -- {data}/dev.json

As an application with an API key, which OpenAI's clients read from the environment:

    curl {url}/v1/chat/completions -H 'Authorization: Bearer {api_key}' --json {chat}
    export OPENAI_BASE_URL={url}/v1 OPENAI_API_KEY={api_key}

As a tool of Codex or Claude Code, which the wallet connects in the browser:

  codex mcp add farebox --url {url}/mcp
  claude mcp add --transport http farebox {url}/mcp

More: README.md, examples/
"
    )
}
