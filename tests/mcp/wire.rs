//! A plain MCP client that speaks both generations of the protocol, and says exactly what it sends.

use farebox_test_support::harness::{self, Reply, reply};
use farebox_test_support::login::Origin;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

pub const PAY_PER_CALL: &str = "/mpp/mcp";

/// Generation of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// 2025-06-18, with `initialize`.
    Initialized,
    /// 2026-07-28, in which each request says all.
    Stateless,
}

pub const ERAS: [Era; 2] = [Era::Initialized, Era::Stateless];

impl Era {
    pub const fn version(self) -> &'static str {
        match self {
            Self::Initialized => "2025-06-18",
            Self::Stateless => "2026-07-28",
        }
    }
}

pub struct Client<'a> {
    pub server: &'a dyn Origin,
    pub path: &'a str,
    pub era: Era,
    /// Access token, where the endpoint asks for one.
    pub token: Option<&'a str>,
}

impl Client<'_> {
    /// A request as an SDK sends it.
    pub fn request(&self, method: &str, params: &Value) -> RequestBuilder {
        let mut params = params.clone();
        if self.era == Era::Stateless {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(self.era.version());
            params["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({"name": "test", "version": "1"});
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
        }
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let mut request = harness::client()
            .post(format!("{}{}", self.server.origin(), self.path))
            .header("content-type", "application/json")
            .body(body.to_string())
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", self.era.version());
        if self.era == Era::Stateless {
            request = request.header("mcp-method", method);
            if let Some(name) = params["name"].as_str() {
                request = request.header("mcp-name", name);
            }
        }
        match self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    pub async fn send(&self, method: &str, params: &Value) -> Reply {
        reply(self.request(method, params)).await
    }

    /// The result of a request that succeeds.
    pub async fn result(&self, method: &str, params: &Value) -> Value {
        let answer = self.send(method, params).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let message = answer.json();
        assert!(message.get("error").is_none(), "{message}");
        message["result"].clone()
    }

    /// The JSON-RPC message that answers a call of a tool.
    pub async fn call(&self, tool: &str, arguments: &Value, meta: &Value) -> Value {
        let answer =
            self.send("tools/call", &json!({"name": tool, "arguments": arguments, "_meta": meta})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    /// What a call asks to be paid: challenges, in the place where clients of this generation look for them.
    pub fn payment_required(&self, message: &Value) -> Value {
        match self.era {
            Era::Initialized => {
                assert_eq!(message["error"]["code"], -32042, "{message}");
                message["error"]["data"].clone()
            }
            Era::Stateless => {
                assert_eq!(message["result"]["isError"], true, "{message}");
                message["result"]["_meta"]["org.paymentauth/payment-required"].clone()
            }
        }
    }
}
