//! A browser: it keeps its cookie, and says which page asks.

use alloy::signers::SignerSync as _;
use farebox_test_support::agent::Agent;
use farebox_test_support::harness::{Reply, Server, reply};
use reqwest::Method;
use serde_json::{Value, json};

pub const CHALLENGE: &str = "/api/v1/auth/challenge";
pub const AUTH: &str = "/api/v1/auth";
pub const SESSION: &str = "/api/v1/auth/session";
pub const SESSIONS: &str = "/api/v1/auth/sessions";
pub const LOGOUT: &str = "/api/v1/auth/logout";

/// A browser with the cookie of a session, or without.
#[derive(Debug, Default, Clone)]
pub struct Browser {
    /// `name=value`.
    pub cookie: Option<String>,
}

impl Browser {
    /// A browser in which the agent's wallet has signed in.
    pub async fn signed_in(server: &Server, agent: &Agent) -> Self {
        let mut browser = Self::default();
        let answer = browser.sign_in(server, agent).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        browser
    }

    /// Signs in, and keeps the cookie.
    pub async fn sign_in(&mut self, server: &Server, agent: &Agent) -> Reply {
        self.sign_in_with(server, &proof(server, agent).await).await
    }

    /// Signs in with a message that was signed, and keeps the cookie.
    pub async fn sign_in_with(&mut self, server: &Server, proof: &Value) -> Reply {
        let answer = self.post(server, AUTH, proof).await;
        if let Some(set) = answer.header("set-cookie") {
            self.cookie = set.split(';').next().map(str::to_owned);
        }
        answer
    }

    /// Sends a request as a page of this server does.
    pub async fn send(&self, server: &Server, method: Method, path: &str, body: Option<&Value>) -> Reply {
        let mut request = server.request(method, path).header("sec-fetch-site", "same-origin");
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        reply(request).await
    }

    pub async fn get(&self, server: &Server, path: &str) -> Reply {
        self.send(server, Method::GET, path, None).await
    }

    pub async fn post(&self, server: &Server, path: &str, body: &Value) -> Reply {
        self.send(server, Method::POST, path, Some(body)).await
    }

    pub async fn delete(&self, server: &Server, path: &str) -> Reply {
        self.send(server, Method::DELETE, path, Some(&json!({}))).await
    }

    pub async fn patch(&self, server: &Server, path: &str, body: &Value) -> Reply {
        self.send(server, Method::PATCH, path, Some(body)).await
    }
}

/// The message for a wallet to sign in with.
pub async fn challenge(server: &Server, address: &str) -> String {
    let answer = reply(server.post(CHALLENGE, &json!({ "address": address }).to_string())).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["message"].as_str().expect("a message").to_owned()
}

/// Address, message and signature.
pub async fn proof(server: &Server, agent: &Agent) -> Value {
    signed(agent, &challenge(server, &agent.address().to_string()).await)
}

pub fn signed(agent: &Agent, message: &str) -> Value {
    let signature = agent.signer.sign_message_sync(message.as_bytes()).expect("a local key signs");
    let signature = alloy::hex::encode_prefixed(signature.as_bytes());
    json!({ "address": agent.address(), "message": message, "signature": signature })
}
